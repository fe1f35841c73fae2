"""A DSP48E2 whose multiplier takes the sum of two words, as an explicit cell.

It is there in UltraScale+ alone. AMD UG579 describes it.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Value

from hw.contract.cascade import FACTOR_PORT_BITS
from hw.contract.quad import ACTIVATION_PORT_BITS

__all__ = ["SUM_BITS", "place_block"]

#: Bits of the ports C, PCIN and P, and of the port A.
SUM_BITS, _A_BITS = 48, 30

#: INMODE: D + A, from the registers A2, D and B2.
_INMODE = 0b00100
#: Registers: one for A, D, C, the product and the sum. What never changes has none.
_REGISTERS = {
    "AREG": 1, "ACASCREG": 1, "DREG": 1, "CREG": 1, "MREG": 1, "PREG": 1, "ALUMODEREG": 0,
    "INMODEREG": 0, "OPMODEREG": 0, "CARRYINREG": 0, "CARRYINSELREG": 0,
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
) | {"ACIN": _A_BITS, "BCIN": ACTIVATION_PORT_BITS, "CARRYINSEL": 3}


def _extended(value: Value, bits: int) -> Value:
    """A signed value with ``bits`` bits."""
    return Cat(value, value[-1].replicate(bits - len(value)))


def place_block(
    m: Module,
    name: str,
    *,
    joined: bool,
    opmode: int,
    alumode: int,
    rounding: int,
    a: Value,
    d: Value,
    b: Value,
    c: Value,
    total: Value,
    before: Value | None = None,
    onwards: Value | None = None,
) -> None:
    """Adds a block that multiplies ``a + d`` by ``b``, all signed; ``c`` is not.

    joined : ``a + d`` has a register of its own, so ``b`` has two.
    opmode, alumode : what is added and with which signs
    rounding : the block's constant
    total : the sum; ``onwards`` is its way to the next block, from which it is ``before``
    """
    registers = _REGISTERS | {"ADREG": int(joined), "BREG": 1 + joined, "BCASCREG": 1 + joined}
    m.submodules[name] = Instance(
        "DSP48E2",
        p_AMULTSEL="AD",
        p_BMULTSEL="B",
        p_PREADDINSEL="A",
        p_USE_MULT="MULTIPLY",
        p_RND=Const(rounding, SUM_BITS),
        **{f"p_{register}": count for register, count in registers.items()},
        i_CLK=ClockSignal(),
        i_A=_extended(a, _A_BITS),
        i_B=_extended(b, ACTIVATION_PORT_BITS),
        i_C=Cat(c, Const(0, SUM_BITS - len(c))),
        i_D=_extended(d, FACTOR_PORT_BITS),
        i_PCIN=Const(0, SUM_BITS) if before is None else before,
        i_INMODE=Const(_INMODE, 5),
        i_OPMODE=Const(opmode, 9),
        i_ALUMODE=Const(alumode, 4),
        **{f"i_{port}": Const(1, 1) for port in _ENABLED},
        **{f"i_{port}": Const(0, bits) for port, bits in _ZERO.items()},
        o_P=total,
        **({} if onwards is None else {"o_PCOUT": onwards}),
    )
