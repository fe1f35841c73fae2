"""Finds the number of the bit that is set."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Value

__all__ = ["number_of"]


def number_of(flags: Sequence[Value]) -> Value:
    """The number of the flag that is set: 0 if none is, the OR of the numbers if several are."""
    bits = max(1, (len(flags) - 1).bit_length())
    return Cat(
        Cat(flag for number, flag in enumerate(flags) if number >> bit & 1).any()
        for bit in range(bits)
    )
