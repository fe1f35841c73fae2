"""How fast the words of a load or a store come: both share the memory behind the ports."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Pace"]


@dataclass(frozen=True)
class Pace:
    """Cycles from word to word of a transfer.

    alone, together : without and with a transfer in the other direction.
    others : from when to when there are such transfers, in order; the last one may have no end yet.
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
