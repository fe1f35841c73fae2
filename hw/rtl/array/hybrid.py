"""The array with some of its pixels in DSP blocks and the others in look-up tables."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.structure import ArrayPart, array_parts, pixels_in_tables
from hw.contract.timing import SECTION_FILTERS, array_latency, block_wait, cascade_delays
from hw.rtl.array.array import PeArray, sums_layout, weights_layout
from hw.rtl.array.cascade_section import CascadeSection
from hw.rtl.array.quad_section import QuadSection
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.array.wait import Wait
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = ["HybridArray"]


class HybridArray(Component):
    """As :class:`~hw.rtl.array.array.PeArray`; the last ``dsp_pixels`` pixels are in DSP blocks.

    For the first ``dsp_filters`` filters the pixels before those are in blocks, too. Blocks take
    longer: a cascade takes a step's lanes one after the other. So the words of the other pixels,
    and the flags, wait.

    Members, ordering, throughput and widths as :class:`~hw.rtl.array.array.PeArray`. Sums are there
    ``array_latency(config)`` cycles after the last step, those in tables and those in blocks alike.
    """

    config_fields = (
        *("pe", "lanes", "filters", "pixels", "act_bits", "weight_bits", "acc_bits"),
        *("dsp_pixels", "dsp_filters"),
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
        wait = block_wait(c)
        (valid,) = delayed(m, ("valid",), (self.valid,), wait)
        flags = (self.first, self.last)
        self._flags = (valid, *delayed(m, ("first", "last"), flags, wait, domain="data"))
        weights = [self._words(m, f"weight_f{f}", self.weight[f]) for f in range(c.filters)]
        acts = [
            self._words(m, f"act_p{p}", self.act[p], in_tables=p < c.pixels - c.dsp_pixels)
            for p in range(c.pixels)
        ]
        start = 0
        for part in array_parts(c):
            rows = range(start, start + part.filters)
            self._in_tables(m, part, rows, acts, weights)
            for first in range(start, rows.stop, SECTION_FILTERS):
                section = range(first, min(first + SECTION_FILTERS, rows.stop))
                self._in_blocks(m, part, section, acts, weights)
            start = rows.stop
        return m

    def _words(
        self, m: Module, name: str, word: data.View, in_tables: bool = True
    ) -> tuple[Value, Value | None]:
        """A word as the blocks take it, and as late as the tables do if they take it."""
        c, value = self.config, Value.cast(word)
        if not c.quads:
            first, _ = cascade_delays(c)
            lines = ShiftLines(
                lanes=c.lanes, bits=len(word[0]), length=c.cascades.lanes, first=first
            )
            m.submodules[f"lines_{name}"] = lines
            m.d.comb += Value.cast(lines.word).eq(value)
            return Value.cast(lines.skewed), Value.cast(lines.late)
        if not in_tables:
            return value, None
        m.submodules[f"wait_{name}"] = wait = Wait(bits=len(value), cycles=block_wait(c))
        m.d.comb += wait.word.eq(value)
        return value, wait.late

    def _in_tables(
        self, m: Module, part: ArrayPart, filters: range, acts: list[tuple], weights: list[tuple]
    ) -> None:
        pixels = range(self.config.pixels - part.dsp_pixels)
        tables = PeArray(pixels_in_tables(self.config, part))
        self._join(m, f"tables_{filters.start}", tables, filters, pixels, acts, weights, late=True)

    def _in_blocks(
        self, m: Module, part: ArrayPart, filters: range, acts: list[tuple], weights: list[tuple]
    ) -> None:
        c = self.config
        kind = QuadSection if c.quads else CascadeSection
        section = kind(c, len(filters), part.dsp_pixels)
        pixels = range(c.pixels - part.dsp_pixels, c.pixels)
        name = f"section_{filters.start}"
        self._join(m, name, section, filters, pixels, acts, weights, late=False)

    def _join(
        self,
        m: Module,
        name: str,
        unit: Component,
        filters: range,
        pixels: range,
        acts: list[tuple],
        weights: list[tuple],
        *,
        late: bool,
    ) -> None:
        """Adds a unit for these filters and pixels."""
        m.submodules[name] = unit
        valid, first, last = self._flags
        m.d.comb += [
            unit.valid.eq(valid),
            unit.first.eq(first),
            unit.last.eq(last),
            Value.cast(unit.act).eq(Cat(acts[pixel][late] for pixel in pixels)),
            Value.cast(unit.weight).eq(Cat(weights[filter_][late] for filter_ in filters)),
        ]
        for at, pixel in enumerate(pixels):
            for index, filter_ in enumerate(filters):
                m.d.comb += self.acc[pixel][filter_].eq(unit.acc[at][index])
