"""DSP blocks that multiply two activations by the weights of two filters, all four products."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.quad import quad
from hw.rtl.component import Component

__all__ = ["DspQuad", "QuadFactor", "quad_offsets"]

#: Bits of a DSP block's sum.
_SUM_BITS = 48


def quad_offsets(field_bits: int) -> int:
    """Half the range of each of a block's four products."""
    return sum(1 << (field_bits * number + field_bits - 1) for number in range(4))


class QuadFactor(Component):
    """The stored weights of two filters as what a block adds. No registers.

    A negative weight w is ``rest - 2**g``, where g is the number of bits of the largest magnitude.
    Both weights together are both ``rest``, one above the other, less both powers of two.

    Members
    -------
    code : ``In(data.ArrayLayout(weight_bits, 2))``, as in :class:`~hw.rtl.array.svpe.Svpe`
    rest : ``Out(data.ArrayLayout(2**(weight_bits - 1), 2))``
    one, any : ``Out(1)``, one of both is negative, or at least one
    """

    def __init__(self, *, weight_bits: int):
        self.weight_bits = weight_bits
        super().__init__({
            "code": In(data.ArrayLayout(weight_bits, 2)),
            "rest": Out(data.ArrayLayout(1 << (weight_bits - 1), 2)),
            "one": Out(1),
            "any": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        top = 1 << ((1 << (self.weight_bits - 1)) - 1)
        for code, rest in zip(self.code, self.rest, strict=True):
            index = code[:-1]
            magnitude = Mux(index.any(), (1 << index) >> 1, 0)
            m.d.comb += rest.eq(Mux(code[-1], top - magnitude, magnitude))
        low, high = (code[-1] for code in self.code)
        m.d.comb += [self.one.eq(low ^ high), self.any.eq(low | high)]
        return m


class DspQuad(Component):
    """The products of a lane for two filters at two pixels, with one multiplier.

    Products are those of :class:`~hw.rtl.array.svpe.Svpe`, plus half their range. The block
    multiplies ``w0 + w1 * 2**(2 * field_bits)`` by ``a0 + half + a1 * 2**field_bits``. So both
    activations are next to one another, the lower without a sign. What that is too much, and what
    inverted products lack, is ``rest * half + negative`` for each weight, which is subtracted.

    ``fields`` follow the operands after ``latency`` cycles. One lane per cycle. The multiplier has
    registers at its inputs and its output.

    Parameters
    ----------
    act_bits, weight_bits : int

    Members
    -------
    act : ``In(data.ArrayLayout(act_bits, 2))``, of both pixels
    rest, one, any : ``In``, as in :class:`QuadFactor`
    negative : ``In(2)``, signs of the weights
    late_rest, late_negative : ``In``, those of a cycle ago
    fields : ``Out(data.ArrayLayout(field_bits, 4))``, both pixels of the first filter, then both of
        the second
    """

    #: Registers of a block: operands, product, sum.
    latency = 3

    def __init__(self, *, act_bits: int, weight_bits: int):
        self.act_bits = act_bits
        self.weight_bits = weight_bits
        self._plan = quad(act_bits, weight_bits)
        rest = data.ArrayLayout(self._plan.rest_bits, 2)
        super().__init__({
            "act": In(data.ArrayLayout(act_bits, 2)),
            "rest": In(rest),
            "one": In(1),
            "any": In(1),
            "negative": In(2),
            "late_rest": In(rest),
            "late_negative": In(2),
            "fields": Out(data.ArrayLayout(self._plan.field_bits, 4)),
        })  # fmt: skip

    def _operands(self) -> tuple[Value, Value, Value, Value]:
        """What is added to the signs' powers of two; these; activations; what is too much."""
        plan = self._plan
        bits, width = self.act_bits, plan.field_bits
        rest = Cat(self.rest[0], Const(0, 2 * width - plan.rest_bits), self.rest[1])
        # Less a power of two is that bit and all bits above it. The second one begins behind
        # `2 * width` of them, and the first one takes 1 from it.
        signs = Cat(
            Const(0, plan.rest_bits - 1),
            self.negative[0].replicate(2 * width),
            self.one,
            self.any,
        ).as_signed()
        low, high = self.act
        acts = Cat(low[:-1], ~low[-1], Const(0, width - bits), high).as_signed()
        excess = [
            Cat(sign, Const(0, bits - 2), rest)
            for sign, rest in zip(self.late_negative, self.late_rest, strict=True)
        ]
        excess = Cat(excess[0], Const(0, 2 * width - len(excess[0])), excess[1])
        return rest, signs, acts, excess

    def build(self) -> Module:
        m = Module()
        rest, signs, acts, excess = self._operands()
        d, a = Signal.like(rest, name="d"), Signal.like(signs, name="a")
        b, c = Signal.like(acts, name="b"), Signal.like(excess, name="c")
        factor = (d + a)[: len(signs)].as_signed()
        product = Signal((factor * b).shape(), name="m")
        total = Signal(_SUM_BITS, name="p")
        m.d.data += [
            d.eq(rest),
            a.eq(signs),
            b.eq(acts),
            c.eq(excess),
            product.eq(factor * b),
            total.eq(product + quad_offsets(self._plan.field_bits) - c),
        ]
        m.d.comb += self.fields.eq(total)
        return m
