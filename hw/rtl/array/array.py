"""The array: filters x pixels processing elements, in sections with registers of their own."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import SECTION_FILTERS, array_latency
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.component import Component

__all__ = ["ArraySection", "PeArray", "processing_element"]


def processing_element(
    config: AcceleratorConfig, lanes: int | None = None, radix_bits: int = 0
) -> Svpe | Vpe:
    """The configuration's element, :class:`Svpe` or :class:`Vpe`, of all its lanes or some."""
    element = Svpe if config.pe == "shift" else Vpe
    return element(
        lanes=lanes or config.lanes,
        act_bits=config.act_bits,
        weight_bits=config.weight_bits,
        stored_bits=config.stored_weight_bits,
        acc_bits=config.acc_bits,
        radix_bits=radix_bits,
    )


def _ports(config: AcceleratorConfig, filters: int) -> dict:
    return {
        "valid": In(1),
        "first": In(1),
        "last": In(1),
        "act": In(config.pixels * config.act_word_bits),
        "weight": In(filters * config.lanes * config.stored_weight_bits),
        "acc": Out(filters * config.pixels * config.acc_bits),
    }


class ArraySection(Component):
    """Up to eight filters x all pixels, behind one register level of its own.

    Ports, ordering and throughput as :class:`PeArray`; latency is the element's plus one.
    """

    config_fields = ("pe", "lanes", "pixels", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig, filters: int):
        self.config = config
        self.filters = filters
        self.latency = array_latency(config)
        super().__init__(_ports(config, filters))

    def build(self) -> Module:
        m = Module()
        c = self.config
        valid, first, last = Signal(), Signal(), Signal()
        act = Signal(len(self.act))
        weight = Signal(len(self.weight))
        m.d.data += [
            valid.eq(self.valid),
            first.eq(self.first),
            # What it means without a step is looked at once and not in every element.
            last.eq(self.valid & self.last),
            act.eq(self.act),
            weight.eq(self.weight),
        ]
        elements = []
        for filter_ in range(self.filters):
            for pixel in range(c.pixels):
                element = processing_element(c)
                m.submodules[f"pe_f{filter_}_p{pixel}"] = element
                m.d.comb += [
                    element.valid.eq(valid),
                    element.first.eq(first),
                    element.last.eq(last),
                    element.act.eq(act.word_select(pixel, c.act_word_bits)),
                    element.weight.eq(weight.word_select(filter_, c.lanes * c.stored_weight_bits)),
                ]
                elements.append(element)
        by_pixel = [
            elements[filter_ * c.pixels + pixel].acc
            for pixel in range(c.pixels)
            for filter_ in range(self.filters)
        ]
        m.d.comb += self.acc.eq(Cat(*by_pixel))
        return m


class PeArray(Component):
    """``filters x pixels`` dot products of ``lanes`` activations a cycle, output-stationary.

    One step per cycle, no backpressure: whoever starts outputs keeps them far enough apart to
    drain.
    Latency ``self.latency`` from a step with ``last`` to ``acc``.

    Members
    -------
    valid, first, last : ``In(1)``, as :class:`~hw.rtl.array.svpe.Svpe`;
        ``last`` counts with ``valid``
    act : ``In(pixels * lanes * act_bits)``, pixel 0 in the low bits
    weight : ``In(filters * lanes * stored_bits)``, filter 0 in the low bits
    acc : ``Out(pixels * filters * acc_bits)``, pixel-major: filter 0 of pixel 0 in the low bits
    """

    config_fields = ("pe", "lanes", "filters", "pixels", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = array_latency(config)
        super().__init__(_ports(config, config.filters))

    def build(self) -> Module:
        m = Module()
        c = self.config
        filter_bits = c.lanes * c.stored_weight_bits
        accs = [[] for _ in range(c.pixels)]
        for start in range(0, c.filters, SECTION_FILTERS):
            section = ArraySection(c, min(SECTION_FILTERS, c.filters - start))
            m.submodules[f"section_{start // SECTION_FILTERS}"] = section
            m.d.comb += [
                section.valid.eq(self.valid),
                section.first.eq(self.first),
                section.last.eq(self.last),
                section.act.eq(self.act),
                section.weight.eq(self.weight[start * filter_bits :][: len(section.weight)]),
            ]
            for pixel in range(c.pixels):
                accs[pixel].append(section.acc.word_select(pixel, section.filters * c.acc_bits))
        m.d.comb += self.acc.eq(Cat(*(part for parts in accs for part in parts)))
        return m
