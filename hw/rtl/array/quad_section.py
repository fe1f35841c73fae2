"""Pixels with four lanes in a DSP block: up to eight filters, with registers of their own."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data

from hw.contract.config import AcceleratorConfig
from hw.contract.quad import quad
from hw.contract.timing import pe_latency
from hw.rtl.array.array import registered_step, step_ports
from hw.rtl.array.cascade import CascadeSum
from hw.rtl.array.quad import DspQuad, QuadFactor
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["QuadSection"]


class QuadSection(Component):
    """Up to eight filters x ``pixels`` pixels in DSP blocks, behind one register level of its own.

    The products are in blocks, their sums in tables. The flags come
    :data:`~hw.contract.timing.QUAD_CYCLES` cycles after the step. ``acc`` is that of the other
    pixels' sections.

    Members
    -------
    valid, first, last : ``In(1)``, as for :class:`~hw.rtl.array.array.PeArray`
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    weight : ``In(weights_layout(config, filters))``
    acc : ``Out``, an accumulator for each filter of each pixel
    """

    config_fields = ("pe", "lanes", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig, filters: int, pixels: int):
        self.config = config
        self.filters = filters
        self.pixels = pixels
        super().__init__(step_ports(config, filters, pixels))

    def build(self) -> Module:
        m = Module()
        *flags, act, weight = registered_step(m, self)
        for low in range(0, self.filters, 2):
            factors = self._factors(m, low, weight[low], weight[low + 1])
            for left in range(0, self.pixels, 2):
                products = self._products(m, f"f{low}_p{left}", act[left], act[left + 1], factors)
                for number, fields in enumerate(zip(*products, strict=True)):
                    self._sum(m, low + number // 2, left + number % 2, fields, flags)
        return m

    def _factors(self, m: Module, filter_: int, low: data.View, high: data.View) -> list[dict]:
        """For each lane, the block's inputs that do not depend on the pixels."""
        found = []
        for lane in range(self.config.lanes):
            factor = QuadFactor(weight_bits=self.config.weight_bits)
            m.submodules[f"factor_f{filter_}_l{lane}"] = factor
            m.d.comb += [factor.code[0].eq(low[lane]), factor.code[1].eq(high[lane])]
            negative = Cat(low[lane][-1], high[lane][-1])
            names = (f"rest_f{filter_}_l{lane}", f"negative_f{filter_}_l{lane}")
            values = (Value.cast(factor.rest), negative)
            late_rest, late_negative = delayed(m, names, values, 1, domain="data")
            found.append({
                "rest": factor.rest,
                "one": factor.one,
                "any": factor.any,
                "negative": negative,
                "late_rest": late_rest,
                "late_negative": late_negative,
            })  # fmt: skip
        return found

    def _products(
        self, m: Module, name: str, left: data.View, right: data.View, factors: list[dict]
    ) -> list[data.View]:
        """For each lane the four products of two filters at two pixels."""
        found = []
        for lane, inputs in enumerate(factors):
            block = DspQuad(act_bits=self.config.act_bits, weight_bits=self.config.weight_bits)
            m.submodules[f"block_{name}_l{lane}"] = block
            m.d.comb += [block.act[0].eq(left[lane]), block.act[1].eq(right[lane])]
            m.d.comb += [
                Value.cast(getattr(block, port)).eq(Value.cast(value))
                for port, value in inputs.items()
            ]
            found.append(block.fields)
        return found

    def _sum(
        self, m: Module, filter_: int, pixel: int, fields: tuple[Value, ...], flags: list[Value]
    ) -> None:
        c = self.config
        element = CascadeSum(
            count=c.lanes,
            field_bits=quad(c.act_bits, c.weight_bits).field_bits,
            acc_bits=c.acc_bits,
            latency=pe_latency(c.lanes),
        )
        m.submodules[f"sum_f{filter_}_p{pixel}"] = element
        valid, first, last = flags
        m.d.comb += [
            element.valid.eq(valid),
            element.first.eq(first),
            element.last.eq(last),
            Value.cast(element.fields).eq(Cat(*fields)),
            self.acc[pixel][filter_].eq(element.acc),
        ]
