"""Delays a word by registers."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["Wait"]


class Wait(Component):
    """Gives a word ``cycles`` cycles later. No reset.

    Members
    -------
    word : ``In(bits)``
    late : ``Out(bits)``
    """

    def __init__(self, *, bits: int, cycles: int):
        self.bits = bits
        self.cycles = cycles
        super().__init__({"word": In(bits), "late": Out(bits)})

    def build(self) -> Module:
        m = Module()
        (late,) = delayed(m, ("word",), (self.word,), self.cycles, domain="data")
        m.d.comb += self.late.eq(late)
        return m
