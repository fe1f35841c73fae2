"""Look-up tables of all parts except additions, for UltraScale+, estimated before synthesis.

Memories of rows and queues are made of tables too: eight tables hold 32 words of 14 bits.
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
    """Tables of a queue of ``depth`` words of ``width`` bits."""
    return _memory(width + 1, depth) + _CONTROL


def window(plan: WindowPlan) -> int:
    """Tables of a window: memories of rows, and counters of the position. Columns are registers."""
    rows = (plan.kernel[0] - 1) * _memory(plan.words * plan.bits, plan.source.row)
    return rows + _CONTROL


def rounding(rows: Sequence[Rounding], bits: int) -> int:
    """Tables of saturation: for each row one for two bits, and two more."""
    return len(rows) * (bits // 2 + 2)


def largest(taps: int, words: int, bits: int) -> int:
    """Tables of a maximum: comparisons and choices, each half a table for a bit."""
    return (taps - 1) * words * bits


def sums_of_maps(words: int, bits: int) -> int:
    """Tables of the sums over a map: an accumulator for each channel."""
    return words * bits + _CONTROL


def lookup(words: int, bits: int, out_bits: int) -> int:
    """Tables of a function of one code: for each bit, six-input tables and a choice of one."""
    each = max(1, (1 << bits) // 64)
    return words * out_bits * (each + each // 3)
