"""Pixels in cascades of DSP blocks: up to eight filters, with registers of their own."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import cascade_delays, pe_latency
from hw.rtl.array.array import registered_step, step_ports
from hw.rtl.array.cascade import CascadeSum, DspCascade, NegatedFactor
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["CascadeSection"]


class CascadeSection(Component):
    """Up to eight filters x ``pixels`` pixels in DSP blocks, behind one register level of its own.

    The words' lanes arrive skewed (:class:`~hw.rtl.array.shift_lines.ShiftLines`), the flags
    :data:`~hw.contract.timing.SHIFT_CYCLES` cycles after the step. ``acc`` is that of the other
    pixels' sections.

    Members
    -------
    valid, first, last : ``In(1)``, as for :class:`~hw.rtl.array.array.PeArray`
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    weight : ``In(weights_layout(config, filters))``
    acc : ``Out``, an accumulator for each filter of each pixel
    """

    config_fields = ("pe", "lanes", "act_bits", "weight_bits", "acc_bits", "dsp_pixels")

    def __init__(self, config: AcceleratorConfig, filters: int, pixels: int):
        self.config = config
        self.filters = filters
        self.pixels = pixels
        super().__init__(step_ports(config, filters, pixels))

    def build(self) -> Module:
        m = Module()
        *self._flags, act, weight = registered_step(m, self)
        factors, lacking = zip(
            *(self._weights(m, filter_, weight[filter_]) for filter_ in range(self.filters)),
            strict=True,
        )
        for pixel in range(self.pixels):
            for low in range(0, self.filters, 2):
                pair = slice(low, low + 2)
                fields = self._cascades(
                    m, f"f{low}_p{pixel}", act[pixel], factors[pair], lacking[pair]
                )
                for index, words in enumerate(zip(*fields, strict=True)):
                    self._sum(m, low + index, pixel, words)
        return m

    def _weights(self, m: Module, filter_: int, codes: data.View) -> tuple[list[Value], Signal]:
        """A filter's negated weights, and which products lack one; the latter two cycles later."""
        factors = []
        for lane in range(self.config.lanes):
            factor = NegatedFactor(weight_bits=self.config.weight_bits)
            m.submodules[f"factor_f{filter_}_l{lane}"] = factor
            m.d.comb += factor.code.eq(codes[lane])
            factors.append(factor.factor)
        signs = Cat(codes[lane][-1] for lane in range(self.config.lanes))
        (lacking,) = delayed(m, (f"lacks_f{filter_}",), (signs,), 2, domain="data")
        return factors, lacking

    def _cascades(
        self, m: Module, name: str, act: data.View, factors: tuple, lacking: tuple
    ) -> list:
        """The fields of the cascades of two filters at one pixel, behind their registers."""
        plan = self.config.cascades
        _, wait = cascade_delays(self.config)
        found = []
        for index in range(plan.count):
            cascade = DspCascade(
                lanes=plan.lanes,
                act_bits=self.config.act_bits,
                factor_bits=plan.factor_bits,
                field_bits=plan.field_bits,
            )
            m.submodules[f"cascade_{name}_{index}"] = cascade
            lanes = range(index * plan.lanes, (index + 1) * plan.lanes)
            for place, lane in enumerate(lanes):
                m.d.comb += [
                    cascade.act[place].eq(act[lane]),
                    cascade.low[place].eq(factors[0][lane]),
                    cascade.high[place].eq(factors[1][lane]),
                ]
            m.d.comb += [
                cascade.low_lacks.eq(lacking[0][lanes.start : lanes.stop]),
                cascade.high_lacks.eq(lacking[1][lanes.start : lanes.stop]),
            ]
            names = tuple(f"field_{name}_{index}_{half}" for half in ("low", "high"))
            values = tuple(cascade.fields[half] for half in range(2))
            found.append(delayed(m, names, values, wait, domain="data"))
        return found

    def _sum(self, m: Module, filter_: int, pixel: int, fields: tuple[Value, ...]) -> None:
        c = self.config
        element = CascadeSum(
            count=len(fields),
            field_bits=c.cascades.field_bits,
            acc_bits=c.acc_bits,
            latency=pe_latency(c.lanes),
        )
        m.submodules[f"sum_f{filter_}_p{pixel}"] = element
        valid, first, last = self._flags
        m.d.comb += [
            element.valid.eq(valid),
            element.first.eq(first),
            element.last.eq(last),
            Value.cast(element.fields).eq(Cat(*fields)),
            self.acc[pixel][filter_].eq(element.acc),
        ]
