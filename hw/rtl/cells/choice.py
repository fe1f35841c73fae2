"""One of several words."""

from amaranth.hdl import Array, Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Choice"]


class Choice(Component):
    """Word ``select`` of ``ways``, a power of two; logic without registers.

    On UltraScale+ two bits of 2 words take one table; a bit of 8 words takes two tables and a
    multiplexer behind them, of 16 twice as many.

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
