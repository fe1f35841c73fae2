"""A number plus another that comes as the OR of several."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Addition"]


class Addition(Component):
    """``addend + (terms[0] | terms[1] | ...)``, all signed; logic without registers.

    On UltraScale+ one table for a bit, with up to five terms.

    Members
    -------
    addend : ``In(width)``
    terms : ``In(count * bits)``, with no more bits than the addend
    total : ``Out(width + 1)``
    """

    def __init__(self, *, width: int, count: int, bits: int):
        self.width = width
        self.count = count
        self.bits = bits
        super().__init__({
            "addend": In(width), "terms": In(count * bits), "total": Out(width + 1)
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        either = reduce(or_, (self.terms.word_select(i, self.bits) for i in range(self.count)))
        m.d.comb += self.total.eq(self.addend.as_signed() + either.as_signed())
        return m
