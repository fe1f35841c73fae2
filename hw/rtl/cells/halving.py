"""Shifts a number to the right by one bit, or not."""

from amaranth.hdl import Module, Mux
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Halving"]


class Halving(Component):
    """``value >> halve`` without its highest bit; logic without registers.

    On UltraScale+ one table for two bits.

    Members
    -------
    value : ``In(width + 1)``
    halve : ``In(1)``
    result : ``Out(width)``
    """

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({"value": In(width + 1), "halve": In(1), "result": Out(width)})

    def build(self) -> Module:
        m = Module()
        m.d.comb += self.result.eq(Mux(self.halve, self.value[1:], self.value[:-1]))
        return m
