"""Combines words of which at most one is not zero."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Union"]


class Union(Component):
    """For each of ``count`` parts ``common[0] | common[1] ... | part & enable``; no registers.

    On UltraScale+ one table for a bit of two parts, with up to two common words.

    Members
    -------
    common : ``In(data.ArrayLayout(width, terms))``
    parts : ``In(data.ArrayLayout(width, count))``
    enable : ``In(1)``
    combined : ``Out(data.ArrayLayout(width, count))``
    """

    def __init__(self, *, terms: int, count: int, width: int):
        self.terms = terms
        self.count = count
        self.width = width
        super().__init__({
            "common": In(data.ArrayLayout(width, terms)),
            "parts": In(data.ArrayLayout(width, count)),
            "enable": In(1),
            "combined": Out(data.ArrayLayout(width, count)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        common = reduce(or_, self.common)
        enable = self.enable.replicate(self.width)
        for combined, part in zip(self.combined, self.parts, strict=True):
            m.d.comb += combined.eq((part & enable) | common)
        return m
