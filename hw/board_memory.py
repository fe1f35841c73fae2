"""The memory that a board's accelerator works with, as the cycle model and the simulator see it."""

from dataclasses import dataclass

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["BOARD_MEMORIES", "DDR4_REFRESH", "BoardMemory", "find_memory"]

#: JEDEC JESD79-4, parts of 8 Gbit: refresh_every_ns and refresh_ns.
DDR4_REFRESH = {"refresh_every_ns": 7800, "refresh_ns": 350}


@dataclass(frozen=True, kw_only=True)
class BoardMemory:
    """A memory in units of time, which a clock turns into cycles.

    bytes_per_s : all ports and both directions together.
    read_ns, write_ns : from a read's address to its first beat, from a write's last beat to its
        response.
    refresh_every_ns, refresh_ns : how often it stands still, and how long; 0 for never.
    """

    name: str
    bytes_per_s: float
    read_ns: float
    write_ns: float
    refresh_every_ns: int = 0
    refresh_ns: int = 0

    def __post_init__(self):
        if not 0 <= self.refresh_ns <= self.refresh_every_ns:
            raise ValueError(
                f"refresh_ns must be 0...{self.refresh_every_ns}, not {self.refresh_ns!r}"
            )

    def bytes_per_cycle(self, clock_mhz: int) -> float:
        return self.bytes_per_s / (clock_mhz * 1e6)

    def read_latency(self, clock_mhz: int) -> int:
        """Cycles, 1 or more."""
        return max(1, round(self.read_ns * clock_mhz / 1000))

    def write_latency(self, clock_mhz: int) -> int:
        """Cycles, 1 or more."""
        return max(1, round(self.write_ns * clock_mhz / 1000))


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
