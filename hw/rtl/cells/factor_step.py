"""Takes an activation as a factor, or moves a factor up by a digit."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["FactorStep"]


class FactorStep(Component):
    """With ``take`` the activation, sign-extended, otherwise ``left * 2**shift``.

    Logic without registers. On UltraScale+ two bits take one table.

    Parameters
    ----------
    act_bits : int
        Bits of a stored code.
    width : int
        Bits of a factor, more than ``act_bits``.
    shift : int

    Members
    -------
    left : ``In(width)``
    act : ``In(act_bits)``, the stored code
    offset : ``In(1)``, it is stored less half the range
    take : ``In(1)``
    result : ``Out(width)``
    """

    def __init__(self, *, act_bits: int, width: int, shift: int):
        self.act_bits = act_bits
        self.width = width
        self.shift = shift
        super().__init__({
            "left": In(width),
            "act": In(act_bits),
            "offset": In(1),
            "take": In(1),
            "result": Out(width),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        sign = self.act[-1] ^ self.offset
        above = (self.act[-1] & ~self.offset).replicate(self.width - self.act_bits)
        taken = Cat(self.act[:-1], sign, above)
        moved = Cat(Const(0, self.shift), self.left)[: self.width]
        m.d.comb += self.result.eq(Mux(self.take, taken, moved))
        return m
