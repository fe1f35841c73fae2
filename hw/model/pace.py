"""How fast the words of a load or a store move. Loads and stores share one memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.contract.memory_timing import MemoryTiming

__all__ = ["Pace", "beat_cycles"]

#: Beats a cycle that stores get where loads could use all of the memory.
_LEAST_WRITTEN = 1e-3


def beat_cycles(
    config: AcceleratorConfig, memory: MemoryTiming
) -> dict[Opcode, tuple[float, float]]:
    """Cycles from beat to beat of loads and of stores, all ports together.

    Each is a pair: for a transfer alone, and for one beside a full stream in the other direction.
    The memory serves the ports in turn, the read of a port before its write. So reads are ahead by
    half a port's beat.
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

    alone, together : cycles without and with a transfer in the other direction.
    others : (begin, end) of such transfers, in order. The last one may have no end yet.
    """

    alone: float
    together: float
    others: Sequence[tuple[float, float]] = ()

    def end(self, begin: float, words: float) -> float:
        """The time when ``words`` words have moved, from ``begin`` on."""
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
