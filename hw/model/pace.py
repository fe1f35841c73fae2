"""How fast the words of a load or a store move. Both share the memory behind the ports."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.contract.memory_timing import MemoryTiming

__all__ = ["Pace", "beat_cycles"]

#: Beats a cycle that stores get of a memory that loads could use up.
_LEAST_WRITTEN = 1e-3


def beat_cycles(
    config: AcceleratorConfig, memory: MemoryTiming
) -> dict[Opcode, tuple[float, float]]:
    """Cycles from beat to beat of loads and of stores, all ports together.

    The first number is for a transfer alone, the second for one beside as many beats as the memory
    moves in the other direction. The memory serves the ports in turn, each one's read before its
    write: reads are half a port's beat ahead.
    """
    most = memory.bytes_per_cycle / (config.axi_beat_bits / 8) or 2.0
    reads = min(1.0, most, most / 2 + 1 / (2 * config.axi_ports))
    writes = min(1.0, max(most - reads, _LEAST_WRITTEN))
    moving = 1 - memory.paused
    alone = 1 / (min(1.0, most) * moving)
    return {
        Opcode.LOAD: (alone, 1 / (reads * moving)),
        Opcode.STORE: (alone, 1 / (writes * moving)),
    }


@dataclass(frozen=True)
class Pace:
    """Cycles from word to word of a transfer.

    alone, together : without and with a transfer in the other direction.
    others : (begin, end) of such transfers, in order. The last one may have no end yet.
    """

    alone: float
    together: float
    others: Sequence[tuple[float, float]] = ()

    def end(self, begin: float, words: float) -> float:
        """When ``words`` have come, from ``begin`` on."""
        time = begin
        for first, last in self.others if self.together > self.alone else ():
            apart = max(0.0, first - time) / self.alone
            if apart >= words:
                break
            words -= apart
            time = max(time, first)
            shared = max(0.0, last - time) / self.together
            if shared >= words:
                return time + words * self.together
            words -= shared
            time = max(time, last)
        return time + words * self.alone
