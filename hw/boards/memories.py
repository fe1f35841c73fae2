"""The memory that a board's accelerator works with, as the cycle model and the simulator see it."""

from hw.contract.memory_timing import BoardMemory
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["BOARD_MEMORIES", "DDR4_REFRESH", "find_memory"]

#: JEDEC JESD79-4, parts of 8 Gbit: refresh_every_ns and refresh_ns.
DDR4_REFRESH = {"refresh_every_ns": 7800, "refresh_ns": 350}


BOARD_MEMORIES = {
    memory.name: memory
    for memory in (
        # 64 bits of DDR4-2133 behind the processor system: its peak. The latencies are assumptions
        # of ours (32 and 16 cycles at 250 MHz), nobody has measured them.
        BoardMemory(name="zcu102", bytes_per_s=17.1e9, read_ns=128, write_ns=64),
    )
}


def find_memory(name: str) -> BoardMemory:
    """The memory of that board; :exc:`NbqnnError` naming the known ones for any other."""
    if name not in BOARD_MEMORIES:
        raise NbqnnError(f"memory must be one of {', '.join(BOARD_MEMORIES)}, not {name!r}")
    return BOARD_MEMORIES[name]
