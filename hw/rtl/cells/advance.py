"""Adds one of two increments to a number."""

from amaranth.hdl import Module, Mux
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Advance"]


class Advance(Component):
    """``value + increments[second]``, modulo ``2**width``; logic without registers.

    On UltraScale+ one table per bit.

    Members
    -------
    value : ``In(width)``
    increments : ``In(data.ArrayLayout(width, 2))``
    second : ``In(1)``
    total : ``Out(width)``
    """

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({
            "value": In(width),
            "increments": In(data.ArrayLayout(width, 2)),
            "second": In(1),
            "total": Out(width),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        first, second = self.increments
        m.d.comb += self.total.eq(self.value + Mux(self.second, second, first))
        return m
