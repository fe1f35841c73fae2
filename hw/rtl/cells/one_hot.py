"""From one bit for each of several to a number."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Value

__all__ = ["number_of"]


def number_of(flags: Sequence[Value]) -> Value:
    """The number of the one that is set; 0 where none is. Of several set, the OR of their numbers.

    Every bit is the OR of the flags whose number has it.
    """
    bits = max(1, (len(flags) - 1).bit_length())
    return Cat(
        Cat(flag for number, flag in enumerate(flags) if number >> bit & 1).any()
        for bit in range(bits)
    )
