"""Pixels in DSP blocks as explicit cells: DSP48E2, shift registers in tables, factors in tables.

DSP48E2 is there in UltraScale+ alone; shift registers in tables are there in the 7 series, too.
AMD UG579 describes the block, UG574 the shift register.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from hw.contract.cascade import FACTOR_PORT_BITS
from hw.rtl.array.cascade import DspCascade, NegatedFactor, field_offsets
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.ultrascale.tables import BitFunction, place_tables

__all__ = ["UltrascaleDspCascade", "UltrascaleNegatedFactor", "UltrascaleShiftLines"]

#: Bits of the ports A, B, C and P.
_A_BITS, _B_BITS, _C_BITS = 30, 18, 48

#: OPMODE: what is added, from the high bits: W (RND or C), Z (C or the block before), Y and X (the
#: product). ALUMODE: ``-Z - (W + X + Y) - 1`` or ``Z - (W + X + Y)``.
_FIRST = {"OPMODE": 0b10_011_01_01, "ALUMODE": 0b0010}
_FOLLOWING = {"OPMODE": 0b11_001_01_01, "ALUMODE": 0b0011}
#: INMODE: D + A, from the registers A2, D and B2.
_INMODE = 0b00100
#: Registers: one for A, D, their sum, C, the product and the sum; two for B. What never changes has
#: none.
_REGISTERS = {
    "AREG": 1, "ACASCREG": 1, "ADREG": 1, "DREG": 1, "BREG": 2, "BCASCREG": 2, "CREG": 1,
    "MREG": 1, "PREG": 1, "ALUMODEREG": 0, "INMODEREG": 0, "OPMODEREG": 0, "CARRYINREG": 0,
    "CARRYINSELREG": 0,
}  # fmt: skip
_ENABLED = ("CEA2", "CEAD", "CEB1", "CEB2", "CEC", "CED", "CEM", "CEP")
#: Inputs that are zero -> bits.
_ZERO = dict.fromkeys(
    (
        *("CEA1", "CEALUMODE", "CECARRYIN", "CECTRL", "CEINMODE", "CARRYIN", "CARRYCASCIN"),
        *("MULTSIGNIN", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL"),
        *("RSTD", "RSTINMODE", "RSTM", "RSTP"),
    ),
    1,
) | {"ACIN": _A_BITS, "BCIN": _B_BITS, "CARRYINSEL": 3}


def _extended(value: Value, bits: int) -> Value:
    """A signed value with ``bits`` bits."""
    return Cat(value, value[-1].replicate(bits - len(value)))


class UltrascaleDspCascade(DspCascade, replaces=DspCascade):
    """:class:`DspCascade` in DSP48E2 blocks, joined by their own wires.

    The adder in front of the multiplier joins the weights. The first block negates all it sums,
    less 1; with ``RND`` that is one less than the negated offsets, it begins with the offsets.
    """

    def build(self) -> Module:
        m = Module()
        before = Const(0, _C_BITS)
        for lane in range(self.lanes):
            total, onwards = Signal(_C_BITS, name=f"p_{lane}"), Signal(_C_BITS, name=f"pc_{lane}")
            lacking = Cat(
                self.low_lacks[lane], Const(0, self.field_bits - 1), self.high_lacks[lane]
            )
            high = Cat(Const(0, self.field_bits), self.high[lane])
            modes = _FOLLOWING if lane else _FIRST
            rounding = 0 if lane else (1 << _C_BITS) - field_offsets(self.field_bits) - 1
            m.submodules[f"block_{lane}"] = Instance(
                "DSP48E2",
                p_AMULTSEL="AD",
                p_BMULTSEL="B",
                p_PREADDINSEL="A",
                p_USE_MULT="MULTIPLY",
                p_RND=Const(rounding, _C_BITS),
                **{f"p_{name}": count for name, count in _REGISTERS.items()},
                i_CLK=ClockSignal(),
                i_A=_extended(high, _A_BITS),
                i_B=_extended(self.act[lane], _B_BITS),
                i_C=Cat(lacking, Const(0, _C_BITS - len(lacking))),
                i_D=_extended(self.low[lane], FACTOR_PORT_BITS),
                i_PCIN=before,
                i_INMODE=Const(_INMODE, 5),
                i_OPMODE=Const(modes["OPMODE"], 9),
                i_ALUMODE=Const(modes["ALUMODE"], 4),
                **{f"i_{name}": Const(1, 1) for name in _ENABLED},
                **{f"i_{name}": Const(0, bits) for name, bits in _ZERO.items()},
                o_P=total,
                o_PCOUT=onwards,
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
