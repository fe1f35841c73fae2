"""Compares two signed numbers, unless overridden."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["Comparison"]


class Comparison(Component):
    """``a > b``, but ``value`` if ``override`` is high or ``a == b``; logic without registers.

    On UltraScale+ one table for two bits.

    Members
    -------
    a, b : ``In(bits)``, signed
    override, value : ``In(1)``
    result : ``Out(1)``
    """

    def __init__(self, *, bits: int):
        self.bits = bits
        super().__init__({
            "a": In(bits),
            "b": In(bits),
            "override": In(1),
            "value": In(1),
            "result": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        a, b = Cat(self.value, self.a).as_signed(), Cat(Const(0, 1), self.b).as_signed()
        m.d.comb += self.result.eq(Mux(self.override, self.value, a > b))
        return m
