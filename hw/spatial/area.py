"""Look-up tables of the parts beside additions, for UltraScale+, estimated before synthesis.

Memories of rows and queues are tables too, eight of which hold 32 words of 14 bits.
"""

from collections.abc import Sequence

from hw.spatial.rounding import Rounding
from hw.spatial.window import WindowPlan

__all__ = ["largest", "lookup", "queue", "rounding", "sums_of_maps", "window"]

#: Counters and comparisons of a raster, or of a queue.
_CONTROL = 30


def _memory(width: int, words: int) -> int:
    return -(-words // 32) * -(-width // 14) * 8


def queue(width: int, depth: int) -> int:
    """A queue of so many words."""
    return _memory(width + 1, depth) + _CONTROL


def window(plan: WindowPlan) -> int:
    """Rows that wait, and the position; columns are registers."""
    rows = (plan.kernel[0] - 1) * _memory(plan.words * plan.bits, plan.source.row)
    return rows + _CONTROL


def rounding(rows: Sequence[Rounding], bits: int) -> int:
    """Saturation: one table for two bits and two more."""
    return len(rows) * (bits // 2 + 2)


def largest(taps: int, words: int, bits: int) -> int:
    """Comparisons, half a table a bit, and choices, as much."""
    return (taps - 1) * words * bits


def sums_of_maps(words: int, bits: int) -> int:
    """An accumulator for each channel."""
    return words * bits + _CONTROL


def lookup(words: int, bits: int, out_bits: int) -> int:
    """Tables of six inputs for each bit, and what chooses among them."""
    each = max(1, (1 << bits) // 64)
    return words * out_bits * (each + each // 3)
