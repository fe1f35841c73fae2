"""Adds three numbers."""

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Total"]


class Total(Component):
    """``terms[0] + terms[1] + terms[2]``, modulo ``2**width``; logic without registers.

    On UltraScale+ one table per bit.

    Members
    -------
    terms : ``In(data.ArrayLayout(width, 3))``
    total : ``Out(width)``
    """

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({"terms": In(data.ArrayLayout(width, 3)), "total": Out(width)})

    def build(self) -> Module:
        m = Module()
        m.d.comb += self.total.eq(sum(self.terms))
        return m
