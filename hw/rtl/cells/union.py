"""Words of which at most one is not zero, combined."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Union"]


class Union(Component):
    """A common word into each part of another: ``common[0] | common[1] ... | part & enable``.

    Logic without registers; on UltraScale+ one table for a bit of two parts, with up to two common
    words.

    Members
    -------
    common : ``In(terms * width)``
    parts : ``In(count * width)``
    enable : ``In(1)``
    combined : ``Out(count * width)``
    """

    def __init__(self, *, terms: int, count: int, width: int):
        self.terms = terms
        self.count = count
        self.width = width
        super().__init__({
            "common": In(terms * width),
            "parts": In(count * width),
            "enable": In(1),
            "combined": Out(count * width),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        common = reduce(or_, (self.common.word_select(i, self.width) for i in range(self.terms)))
        enabled = self.parts & self.enable.replicate(len(self.parts))
        m.d.comb += self.combined.eq(enabled | Cat(common for _ in range(self.count)))
        return m
