"""Three numbers added."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Total"]


class Total(wiring.Component):
    """``terms[0] + terms[1] + terms[2]``, modulo ``2**width``; without registers.

    On UltraScale+ one table for a bit.

    Members
    -------
    terms : ``In(3 * width)``
    total : ``Out(width)``
    """

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({"terms": In(3 * width), "total": Out(width)})

    @property
    def module_name(self) -> str:
        return f"nbqnn_total_w{self.width}"

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(sum(self.terms.word_select(i, self.width) for i in range(3)))
        return m
