"""An activation as a factor: its digits in place of a weight's code."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.rtl.cells.factor_step import FactorStep
from hw.rtl.component import Component

__all__ = ["Digits", "digit_flags"]


def digit_flags() -> data.StructLayout:
    """What a step is in a product, beside the step's other flags.

    product : weights are digits, not those of the memory
    digit : the weight is the digit at hand; otherwise it is zero
    take : the activation becomes the factor
    turn : the digit's last step: the next lower one follows
    negate : the digit counts negative
    unsigned : the factor that is taken is stored less half the range
    """
    names = ("product", "digit", "take", "turn", "negate", "unsigned")
    return data.StructLayout(dict.fromkeys(names, 1))


class Digits(Component):
    """Holds a factor of one lane and gives its digits, the most significant first.

    Digits overlap by a bit (Booth): of ``radix_bits`` = 2 they are -2 to 2, of one bit -1 to 1. So
    ``config.factor_digits`` of them are the factor, whether it is signed or not. The digit at hand
    is chosen from registers, without a register behind.

    Members
    -------
    enable : ``In(1)``, a step takes a factor or is a digit's last
    flags : ``In(digit_flags())``
    act : ``In(act_bits)``, the stored code
    weight : ``In(stored weight bits)``, from the memory
    code : ``Out(stored weight bits)``, what the lane multiplies by
    """

    config_fields = ("pe", "act_bits", "weight_bits")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "enable": In(1),
            "flags": In(digit_flags()),
            "act": In(config.act_bits),
            "weight": In(config.stored_weight_bits),
            "code": Out(config.stored_weight_bits),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c, flags, radix = self.config, self.flags, self.config.radix_bits
        width = radix * c.factor_digits
        # Below the lowest bit there is a zero.
        left = Signal(width)
        following = FactorStep(act_bits=c.act_bits, width=width, shift=radix)
        m.submodules.next = following
        m.d.comb += [
            following.left.eq(left),
            following.act.eq(self.act),
            following.offset.eq(flags.unsigned),
            following.take.eq(flags.take),
        ]
        with m.If(self.enable):
            m.d.data += left.eq(following.result)
        negative = left[-1] ^ flags.negate
        below = Cat(Const(0, 1), left)[-1 - radix : -1]
        if radix == 1:
            one, two = left[-1] ^ below[0], None
        else:
            one = below[0] ^ below[1]
            two = (left[-1] & ~below.any()) | (~left[-1] & below.all())
        if c.pe == "shift":
            # Sign and index. A negative zero is all ones, which lack one like any other.
            code = Cat(one, *([two] if radix > 1 else []))
            code = Cat(code, Const(0, c.weight_bits - 1 - len(code)), negative)
        else:
            # The number itself: of -1 all bits are set, of -2 all but the lowest.
            some = one if two is None else one | two
            code = Cat(one, (some & negative).replicate(c.act_bits - 1))
            if two is not None:
                code = code | (two << 1)
        with m.If(flags.product):
            m.d.comb += self.code.eq(code & flags.digit.replicate(len(self.code)))
        with m.Else():
            m.d.comb += self.code.eq(self.weight)
        return m
