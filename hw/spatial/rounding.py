"""From a sum to a code."""

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Value

from hw.rtl.cells.saturation import Saturation
from hw.spatial.adders import interval_bits

__all__ = ["Rounding", "rounded", "rounded_constant"]


@dataclass(frozen=True)
class Rounding:
    """``clip(sum >> shift, low, high)`` of a sum that includes bias and rounding half."""

    shift: int
    low: int
    high: int


def rounded_constant(rounding: Rounding, total: int) -> int:
    """The code of a sum that never changes."""
    return min(max(total >> rounding.shift, rounding.low), rounding.high)


def rounded(
    m: Module, name: str, rounding: Rounding, total: Value, ends: tuple[int, int], bits: int
) -> Value:
    """The code of a sum, ``bits`` bits wide; logic without registers.

    total : the sum's bits; in two's complement if it can be negative.
    ends : smallest and largest value of the sum.
    """
    low, high = (end >> rounding.shift for end in ends)
    if low < 0:
        # Of a sum whose bits are all shifted out only the sign is left.
        value = total[min(rounding.shift, len(total) - 1) :].as_signed()
    else:
        value = total[rounding.shift :]
    if rounding.low <= low and high <= rounding.high:
        return value
    signed = rounding.low < 0
    formats = (-(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1)
    width = interval_bits(min(low, -1), high)
    if (rounding.low, rounding.high) == formats and width > bits:
        cell = Saturation(width=width, bits=bits, signed=signed)
        m.submodules[f"saturate_{name}"] = cell
        m.d.comb += cell.value.eq(value)
        return cell.result
    at_least = Mux(value < rounding.low, rounding.low, value)
    return Mux(value > rounding.high, rounding.high, at_least)
