"""Clips a number to a narrower format."""

from amaranth.hdl import Const, Module, Mux
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Saturation"]


class Saturation(Component):
    """A signed number clipped to ``bits`` bits; logic without registers.

    On UltraScale+ one table for two bits, and one or two more.

    Parameters
    ----------
    width : bits of the signed number, more than ``bits``.
    bits, signed : the result's format.

    Members
    -------
    value : ``In(width)``
    result : ``Out(bits)``
    """

    def __init__(self, *, width: int, bits: int, signed: bool):
        if width <= bits:
            raise ValueError(f"Width must be more than {bits} bits, not {width}")
        self.width = width
        self.bits = bits
        self.signed = signed
        super().__init__({"value": In(width), "result": Out(bits)})

    def build(self) -> Module:
        m = Module()
        negative = self.value[-1]
        # A number fits a signed format if the bits from its sign upwards are equal, and an unsigned
        # one if the bits above it are zero.
        above = self.value[self.bits - self.signed : -1]
        low = 1 << (self.bits - 1) if self.signed else 0
        high = (1 << (self.bits - self.signed)) - 1
        fits = (above == 0) & ~negative
        if self.signed:
            fits = above == Mux(negative, (1 << len(above)) - 1, 0)
        ends = Mux(negative, Const(low, self.bits), Const(high, self.bits))
        m.d.comb += self.result.eq(Mux(fits, self.value[: self.bits], ends))
        return m
