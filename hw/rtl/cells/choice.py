"""Chooses one of several words."""

from amaranth.hdl import Array, Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Choice"]


class Choice(Component):
    """``words[select]``; ``ways`` words, a power of two; logic without registers.

    On UltraScale+, of 2 words two bits take one table. Of 4 words a bit takes one table, of 8 words
    two tables and a multiplexer behind them, of 16 words twice as many.

    Members
    -------
    words : ``In(data.ArrayLayout(width, ways))``
    select : ``In(range(ways))``
    chosen : ``Out(width)``
    """

    def __init__(self, *, ways: int, width: int):
        self.ways = ways
        self.width = width
        super().__init__({
            "words": In(data.ArrayLayout(width, ways)),
            "select": In(range(ways)),
            "chosen": Out(width),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        m.d.comb += self.chosen.eq(Array(self.words)[self.select])
        return m
