"""A number plus one of two others."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Step"]


class Step(wiring.Component):
    """``value + (steps[1] if second else steps[0])``, modulo ``2**width``; without registers.

    On UltraScale+ one table for a bit.

    Members
    -------
    value : ``In(width)``
    steps : ``In(2 * width)``, number 0 in the low bits
    second : ``In(1)``
    total : ``Out(width)``
    """

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({
            "value": In(width), "steps": In(2 * width), "second": In(1), "total": Out(width)
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        return f"nbqnn_step_w{self.width}"

    def elaborate(self, platform):
        m = Module()
        first, second = (self.steps.word_select(i, self.width) for i in range(2))
        m.d.comb += self.total.eq(self.value + Mux(self.second, second, first))
        return m
