"""The array with some of its pixels in DSP blocks and the others in look-up tables."""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.structure import pixels_in_tables
from hw.contract.timing import (
    SECTION_FILTERS,
    SHIFT_CYCLES,
    array_latency,
    cascade_delays,
    pe_latency,
)
from hw.rtl.array.array import PeArray, registered_step, sums_layout, weights_layout
from hw.rtl.array.cascade import CascadeSum, DspCascade, NegatedFactor
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = ["CascadeSection", "HybridArray"]


class CascadeSection(Component):
    """Up to eight filters x the pixels in DSP blocks, behind one register level of its own.

    The words' lanes arrive skewed (:class:`~hw.rtl.array.shift_lines.ShiftLines`), the flags
    :data:`~hw.contract.timing.SHIFT_CYCLES` cycles after the step. ``acc`` is that of the other
    pixels' sections.

    Members
    -------
    valid, first, last : ``In(1)``, as for :class:`~hw.rtl.array.array.PeArray`
    act : ``In(data.ArrayLayout(word_layout(config), dsp_pixels))``
    weight : ``In(weights_layout(config, filters))``
    acc : ``Out``, an accumulator for each filter of each pixel
    """

    config_fields = ("pe", "lanes", "act_bits", "weight_bits", "acc_bits", "dsp_pixels")

    def __init__(self, config: AcceleratorConfig, filters: int):
        self.config = config
        self.filters = filters
        acc = data.ArrayLayout(signed(config.acc_bits), filters)
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "act": In(data.ArrayLayout(word_layout(config), config.dsp_pixels)),
            "weight": In(weights_layout(config, filters)),
            "acc": Out(data.ArrayLayout(acc, config.dsp_pixels)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        *self._flags, act, weight = registered_step(m, self)
        factors, lacking = zip(
            *(self._weights(m, filter_, weight[filter_]) for filter_ in range(self.filters)),
            strict=True,
        )
        for pixel in range(c.dsp_pixels):
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


class HybridArray(Component):
    """As :class:`~hw.rtl.array.array.PeArray`; the last ``dsp_pixels`` pixels are in DSP blocks.

    A cascade of DSP blocks takes a step's lanes one after the other. The other pixels' words, and
    the flags, wait as long as that takes.

    Members, ordering and throughput as :class:`~hw.rtl.array.array.PeArray`.
    """

    config_fields = (
        *("pe", "lanes", "filters", "pixels", "act_bits", "weight_bits", "acc_bits"),
        "dsp_pixels",
    )

    @classmethod
    def module_prefix(cls) -> str:
        return f"{PeArray.module_prefix()}_hybrid"

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = array_latency(config)
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "act": In(data.ArrayLayout(word_layout(config), config.pixels)),
            "weight": In(weights_layout(config, config.filters)),
            "acc": Out(sums_layout(config, config.filters)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        (valid,) = delayed(m, ("valid",), (self.valid,), SHIFT_CYCLES)
        flags = (self.first, self.last)
        first, last = delayed(m, ("first", "last"), flags, SHIFT_CYCLES, domain="data")
        acts = [self._lines(m, f"act_p{p}", c.act_bits, self.act[p]) for p in range(c.pixels)]
        weights = [
            self._lines(m, f"weight_f{f}", c.weight_bits, self.weight[f]) for f in range(c.filters)
        ]
        in_tables = c.pixels - c.dsp_pixels
        m.submodules.tables = tables = PeArray(pixels_in_tables(c))
        m.d.comb += [
            Value.cast(tables.act).eq(Cat(line.late for line in acts[:in_tables])),
            Value.cast(tables.weight).eq(Cat(line.late for line in weights)),
        ]
        for pixel in range(in_tables):
            m.d.comb += self.acc[pixel].eq(tables.acc[pixel])
        sections = []
        for start in range(0, c.filters, SECTION_FILTERS):
            section = CascadeSection(c, min(SECTION_FILTERS, c.filters - start))
            m.submodules[f"section_{start // SECTION_FILTERS}"] = section
            own = weights[start : start + section.filters]
            m.d.comb += [
                Value.cast(section.act).eq(Cat(line.skewed for line in acts[in_tables:])),
                Value.cast(section.weight).eq(Cat(line.skewed for line in own)),
            ]
            for pixel in range(c.dsp_pixels):
                for filter_ in range(section.filters):
                    acc = section.acc[pixel][filter_]
                    m.d.comb += self.acc[in_tables + pixel][start + filter_].eq(acc)
            sections.append(section)
        for part in (tables, *sections):
            m.d.comb += [part.valid.eq(valid), part.first.eq(first), part.last.eq(last)]
        return m

    def _lines(self, m: Module, name: str, bits: int, word: data.View) -> ShiftLines:
        first, _ = cascade_delays(self.config)
        lines = ShiftLines(
            lanes=self.config.lanes, bits=bits, length=self.config.cascades.lanes, first=first
        )
        m.submodules[f"lines_{name}"] = lines
        m.d.comb += Value.cast(lines.word).eq(Value.cast(word))
        return lines
