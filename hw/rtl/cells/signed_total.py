"""Adds up to three numbers, some of them inverted."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["SignedTotal"]


class SignedTotal(Component):
    """The sum of words and of inverted words, modulo ``2**width``; logic without registers.

    On UltraScale+ one table per bit, whatever is inverted.

    Parameters
    ----------
    width : bits of every word and of the sum.
    plain, inverted : numbers of words that are added as they are, and inverted; one to three in
        all.

    Members
    -------
    terms : ``In((plain + inverted) * width)``; those to be inverted come last
    total : ``Out(width)``
    """

    def __init__(self, *, width: int, plain: int, inverted: int):
        if not 1 <= plain + inverted <= 3:
            raise ValueError(f"Words must be 1..3, not {plain} and {inverted} inverted")
        self.width = width
        self.plain = plain
        self.inverted = inverted
        super().__init__({"terms": In((plain + inverted) * width), "total": Out(width)})

    def build(self) -> Module:
        m = Module()
        count = self.plain + self.inverted
        words = [self.terms.word_select(i, self.width) for i in range(count)]
        words[self.plain :] = [(~word)[: self.width] for word in words[self.plain :]]
        m.d.comb += self.total.eq(sum(words))
        return m
