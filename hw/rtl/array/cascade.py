"""DSP blocks one behind the other: each multiplies an activation by the weights of two filters."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.reduction import reduction
from hw.rtl.array.accumulation import Accumulating
from hw.rtl.component import Component

__all__ = ["CascadeSum", "DspCascade", "NegatedFactor", "field_offsets"]

#: Bits of a DSP block's sum.
_SUM_BITS = 48


def field_offsets(field_bits: int) -> int:
    """What a cascade begins with: half the range of each field."""
    half = 1 << (field_bits - 1)
    return half << field_bits | half


class NegatedFactor(Component):
    """A stored weight as a factor: its negative, in two's complement. No registers.

    Members
    -------
    code : ``In(weight_bits)``, as in :class:`~hw.rtl.array.svpe.Svpe`
    factor : ``Out(signed(2**(weight_bits - 1)))``
    """

    def __init__(self, *, weight_bits: int):
        self.weight_bits = weight_bits
        super().__init__({
            "code": In(weight_bits), "factor": Out(signed(1 << (weight_bits - 1)))
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        index, negative = self.code[:-1], self.code[-1]
        magnitude = Mux(index.any(), (1 << index) >> 1, 0)
        m.d.comb += self.factor.eq(Mux(negative, magnitude, -magnitude))
        return m


class DspCascade(Component):
    """Sums ``lanes`` products for each of two filters, with one multiplier for each lane.

    A block multiplies ``low + high * 2**field_bits`` by the activation and subtracts that, and the
    ones that inverted products lack, from the sum of the block before. So the sums are those of
    :class:`~hw.rtl.array.svpe.Svpe`. Half their range is added to both; so no field is below zero,
    and none borrows from the other.

    Lane i takes the operands of a step i cycles after the first lane. The last lane is followed
    by ``fields`` after ``latency`` cycles. One step per cycle. A multiplier has registers at its
    inputs and its output.

    Parameters
    ----------
    lanes, act_bits, factor_bits, field_bits : int
        As in :class:`hw.contract.cascade.Cascades`.

    Members
    -------
    act : ``In(data.ArrayLayout(signed(act_bits), lanes))``
    low, high : ``In(data.ArrayLayout(signed(factor_bits), lanes))``, the negated weights
    low_lacks, high_lacks : ``In(lanes)``, the product lacks one; two cycles after the weight
    fields : ``Out(data.ArrayLayout(field_bits, 2))``, the sums of both filters
    """

    #: Registers of a block: operands, sum of both weights, product, sum of the lanes.
    latency = 4

    def __init__(self, *, lanes: int, act_bits: int, factor_bits: int, field_bits: int):
        self.lanes = lanes
        self.act_bits = act_bits
        self.factor_bits = factor_bits
        self.field_bits = field_bits
        factors = data.ArrayLayout(signed(factor_bits), lanes)
        super().__init__({
            "act": In(data.ArrayLayout(signed(act_bits), lanes)),
            "low": In(factors),
            "high": In(factors),
            "low_lacks": In(lanes),
            "high_lacks": In(lanes),
            "fields": Out(data.ArrayLayout(field_bits, 2)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        shift = self.field_bits
        before = Const(field_offsets(shift), _SUM_BITS)
        factor_bits = shift + self.factor_bits
        for lane in range(self.lanes):

            def register(name, shape, lane=lane):
                return Signal(shape, name=f"{name}_{lane}")

            act, act_again = (register(name, signed(self.act_bits)) for name in ("b1", "b2"))
            low, high = (register(name, signed(self.factor_bits)) for name in "da")
            factor = register("ad", signed(factor_bits))
            product = register("m", signed(factor_bits + self.act_bits))
            lacking = register("c", shift + 1)
            total = register("p", _SUM_BITS)
            m.d.data += [
                act.eq(self.act[lane]),
                act_again.eq(act),
                low.eq(self.low[lane]),
                high.eq(self.high[lane]),
                factor.eq(low + (high << shift)),
                product.eq(factor * act_again),
                lacking.eq(Cat(self.low_lacks[lane], Const(0, shift - 1), self.high_lacks[lane])),
                total.eq(before - product - lacking),
            ]
            before = total
        m.d.comb += self.fields.eq(before[: 2 * shift])
        return m


class CascadeSum(Accumulating):
    """Adds the fields of one filter's cascades and accumulates the steps.

    As :class:`~hw.rtl.array.svpe.ProcessingElement`: flags, ``acc`` and its ``latency`` are the
    same.

    Parameters
    ----------
    count, field_bits : int
        Cascades, and bits of a field, to which half its range was added.
    acc_bits : int
    latency : int
        Cycles from a step's flags to ``acc``.

    Members
    -------
    valid, first, last : ``In(1)``
    fields : ``In(data.ArrayLayout(field_bits, count))``, in time for the additions that ``latency``
        leaves at its end
    acc : ``Out(signed(acc_bits))``, registered
    """

    def __init__(self, *, count: int, field_bits: int, acc_bits: int, latency: int):
        self.count = count
        self.field_bits = field_bits
        self.acc_bits = acc_bits
        self.latency = latency
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "fields": In(data.ArrayLayout(field_bits, count)),
            "acc": Out(signed(acc_bits)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        plan = reduction(self.count, self.field_bits, self.acc_bits)
        terms = [self.fields[index] for index in range(self.count)]
        if self.count == 1:
            # A single term is signed.
            terms = [Cat(terms[0][:-1], ~terms[0][-1]).as_signed()]
        terms = self._added(m, plan, terms)
        self._accumulated(m, terms, plan.exponent, self.latency - 1)
        return m
