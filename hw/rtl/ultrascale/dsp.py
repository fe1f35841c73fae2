"""Cascades of DSP blocks as explicit cells: DSP48E2, shift registers in tables, factors in tables.

DSP48E2 is there in UltraScale+ alone; shift registers in tables are there in the 7 series, too.
AMD UG574 describes the shift register.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal

from hw.rtl.array.cascade import DspCascade, NegatedFactor, field_offsets
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.ultrascale.dsp_block import SUM_BITS, place_block
from hw.rtl.ultrascale.tables import BitFunction, place_tables

__all__ = ["UltrascaleDspCascade", "UltrascaleNegatedFactor", "UltrascaleShiftLines"]

#: OPMODE: what is added, from the high bits: W (RND or C), Z (C or the block before), Y and X (the
#: product). ALUMODE: ``-Z - (W + X + Y) - 1`` or ``Z - (W + X + Y)``.
_FIRST = {"opmode": 0b10_011_01_01, "alumode": 0b0010}
_FOLLOWING = {"opmode": 0b11_001_01_01, "alumode": 0b0011}


class UltrascaleDspCascade(DspCascade, replaces=DspCascade):
    """:class:`DspCascade` in DSP48E2 blocks, joined by their own wires.

    The adder in front of the multiplier joins the weights. The first block negates all it sums,
    less 1; with ``RND`` that is one less than the negated offsets, it begins with the offsets.
    """

    def build(self) -> Module:
        m = Module()
        before = None
        for lane in range(self.lanes):
            total = Signal(SUM_BITS, name=f"p_{lane}")
            onwards = Signal(SUM_BITS, name=f"pc_{lane}")
            place_block(
                m,
                f"block_{lane}",
                joined=True,
                **(_FOLLOWING if lane else _FIRST),
                rounding=0 if lane else (1 << SUM_BITS) - field_offsets(self.field_bits) - 1,
                a=Cat(Const(0, self.field_bits), self.high[lane]),
                d=self.low[lane],
                b=self.act[lane],
                c=Cat(self.low_lacks[lane], Const(0, self.field_bits - 1), self.high_lacks[lane]),
                total=total,
                before=before,
                onwards=onwards,
            )
            before = onwards
        m.d.comb += self.fields.eq(total[: 2 * self.field_bits])
        return m


class UltrascaleShiftLines(ShiftLines, replaces=ShiftLines):
    """:class:`ShiftLines` with one look-up table for each bit."""

    def build(self) -> Module:
        m = Module()
        for lane in range(self.lanes):
            for bit in range(self.bits):
                m.submodules[f"lane_{lane}_{bit}"] = Instance(
                    "SRLC32E",
                    p_INIT=Const(0, 32),
                    i_CLK=ClockSignal(),
                    i_CE=Const(1, 1),
                    i_A=Const(self.delay(lane) - 1, 5),
                    i_D=self.word[lane][bit],
                    o_Q=self.skewed[lane][bit],
                    o_Q31=self.late[lane][bit],
                )
        return m


class UltrascaleNegatedFactor(NegatedFactor, replaces=NegatedFactor):
    """:class:`NegatedFactor` with two bits in a table."""

    def build(self) -> Module:
        m = Module()
        inputs = {f"code{i}": self.code[i] for i in range(self.weight_bits)}
        functions = []
        for bit in range(len(self.factor)):

            def value(values, bit=bit):
                index = sum(values[f"code{i}"] << i for i in range(self.weight_bits - 1))
                magnitude = (1 << index) >> 1
                negative = values[f"code{self.weight_bits - 1}"]
                return (magnitude if negative else -magnitude) >> bit & 1

            functions.append(BitFunction(self.factor[bit], inputs, value))
        place_tables(m, "bit", functions)
        return m
