"""Lanes that share a DSP block, and what delays the others, as explicit cells.

DSP48E2 is there in UltraScale+ alone.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal

from hw.rtl.array.quad import DspQuad, QuadFactor, quad_offsets
from hw.rtl.array.wait import Wait
from hw.rtl.ultrascale.dsp_block import SUM_BITS, place_block
from hw.rtl.ultrascale.tables import BitFunction, place_tables

__all__ = ["UltrascaleDspQuad", "UltrascaleQuadFactor", "UltrascaleWait"]

#: W is RND, Z is C, Y and X are the product; ``-Z + (W + X + Y) - 1``.
_OPMODE, _ALUMODE = 0b10_011_01_01, 0b0001


class UltrascaleDspQuad(DspQuad, replaces=DspQuad):
    """:class:`DspQuad` in a DSP48E2. Its adder in front of the multiplier joins the weights."""

    def build(self) -> Module:
        m = Module()
        rest, signs, acts, excess = self._operands()
        total = Signal(SUM_BITS, name="p")
        place_block(
            m,
            "block",
            joined=False,
            opmode=_OPMODE,
            alumode=_ALUMODE,
            rounding=quad_offsets(len(self.fields[0])) + 1,
            a=signs,
            # It is not negative.
            d=Cat(rest, Const(0, 1)),
            b=acts,
            c=excess,
            total=total,
        )
        m.d.comb += self.fields.eq(total)
        return m


class UltrascaleQuadFactor(QuadFactor, replaces=QuadFactor):
    """:class:`QuadFactor` with two bits in a table."""

    def build(self) -> Module:
        m = Module()
        bits = self.weight_bits
        top = 1 << ((1 << (bits - 1)) - 1)
        functions = []
        for number, (code, rest) in enumerate(zip(self.code, self.rest, strict=True)):
            inputs = {f"code{number}_{i}": code[i] for i in range(bits)}
            for bit in range(len(rest)):

                def value(values, bit=bit, number=number):
                    *index, negative = (values[f"code{number}_{i}"] for i in range(bits))
                    magnitude = (1 << sum(one << i for i, one in enumerate(index))) >> 1
                    return (top - magnitude if negative else magnitude) >> bit & 1

                functions.append(BitFunction(rest[bit], inputs, value))
        signs = {f"code{number}_{bits - 1}": self.code[number][-1] for number in range(2)}
        functions += [
            BitFunction(self.one, signs, lambda values: sum(values[name] for name in signs) == 1),
            BitFunction(self.any, signs, lambda values: any(values[name] for name in signs)),
        ]
        place_tables(m, "bit", functions)
        return m


class UltrascaleWait(Wait, replaces=Wait):
    """:class:`Wait` in registers that stay registers.

    Of three or more in a row tools make shift registers in tables.
    """

    def build(self) -> Module:
        m = Module()
        before = self.word
        for cycle in range(self.cycles):
            after = Signal(self.bits, name=f"word_{cycle}")
            for bit in range(self.bits):
                m.submodules[f"register_{cycle}_{bit}"] = Instance(
                    "FDRE",
                    a_keep=True,
                    i_C=ClockSignal(),
                    i_CE=Const(1, 1),
                    i_R=Const(0, 1),
                    i_D=before[bit],
                    o_Q=after[bit],
                )
            before = after
        m.d.comb += self.late.eq(before)
        return m
