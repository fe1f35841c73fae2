"""Adds a number and the OR of several others."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Addition"]


class Addition(Component):
    """``addend + (terms[0] | terms[1] | ...)``, all signed; logic without registers.

    On UltraScale+ one table per bit, for up to five terms.

    Members
    -------
    addend : ``In(signed(width))``
    terms : ``In(data.ArrayLayout(signed(bits), count))``, no wider than the addend
    total : ``Out(signed(width + 1))``
    """

    def __init__(self, *, width: int, count: int, bits: int):
        self.width = width
        self.count = count
        self.bits = bits
        super().__init__({
            "addend": In(signed(width)),
            "terms": In(data.ArrayLayout(signed(bits), count)),
            "total": Out(signed(width + 1)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        m.d.comb += self.total.eq(self.addend + reduce(or_, self.terms))
        return m
