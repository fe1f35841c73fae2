"""The array: filters x pixels processing elements, in sections that have their own registers."""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import SECTION_FILTERS, section_latency
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.array.taps import TapSvpe
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = [
    "ArraySection",
    "PeArray",
    "processing_element",
    "registered_step",
    "step_ports",
    "sums_layout",
    "weights_layout",
]


def processing_element(
    config: AcceleratorConfig,
    lanes: int | None = None,
    radix_bits: int = 0,
    exact: bool = False,
    taps: bool = False,
) -> Svpe | Vpe | TapSvpe:
    """The configuration's element, :class:`Svpe` or :class:`Vpe`; all its lanes if None.

    ``taps``: the lanes are taps of one channel.
    """
    element = TapSvpe if taps else Svpe if config.pe == "shift" else Vpe
    return element(
        lanes=lanes or config.lanes,
        act_bits=config.act_bits,
        weight_bits=config.weight_bits,
        stored_bits=config.stored_weight_bits,
        acc_bits=config.acc_bits,
        radix_bits=radix_bits,
        exact=exact,
    )


def weights_layout(config: AcceleratorConfig, filters: int) -> data.ArrayLayout:
    """A stored weight for each lane of each filter."""
    return data.ArrayLayout(data.ArrayLayout(config.stored_weight_bits, config.lanes), filters)


def sums_layout(config: AcceleratorConfig, channels: int) -> data.ArrayLayout:
    """An accumulator for each channel of each pixel."""
    return _sums(config, channels, config.pixels)


def _sums(config: AcceleratorConfig, channels: int, pixels: int) -> data.ArrayLayout:
    return data.ArrayLayout(data.ArrayLayout(signed(config.acc_bits), channels), pixels)


def step_ports(config: AcceleratorConfig, filters: int, pixels: int) -> dict:
    """Ports of what takes steps for so many filters and pixels, as :class:`PeArray` says them."""
    return {
        "valid": In(1),
        "first": In(1),
        "last": In(1),
        "act": In(data.ArrayLayout(word_layout(config), pixels)),
        "weight": In(weights_layout(config, filters)),
        "acc": Out(_sums(config, filters, pixels)),
    }


def registered_step(
    m: Module, section: Component, *, holds: bool = False
) -> tuple[Signal, Signal, Signal, Signal, Signal]:
    """Registers of a section: ``valid``, ``first``, ``last``, activations and weights of a step.

    holds : activations and weights come with ``valid``. They stay as they are while there is no
        step, so that nothing behind them switches.
    """
    valid = Signal()
    first = Signal()
    last = Signal()
    act = Signal.like(section.act)
    weight = Signal.like(section.weight)
    m.d.data += [
        valid.eq(section.valid),
        first.eq(section.first),
        # Without a step ``last`` means nothing. It is masked here once, not in every element.
        last.eq(section.valid & section.last),
    ]
    changed = [act.eq(section.act), weight.eq(section.weight)]
    if holds:
        with m.If(section.valid):
            m.d.data += changed
    else:
        m.d.data += changed
    return valid, first, last, act, weight


class ArraySection(Component):
    """Up to eight filters x all pixels, behind one register level of its own.

    Ports, ordering and throughput as :class:`PeArray`; latency is the element's plus one.
    """

    config_fields = ("pe", "lanes", "pixels", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig, filters: int):
        self.config = config
        self.filters = filters
        self.latency = section_latency(config)
        super().__init__(step_ports(config, filters, config.pixels))

    def build(self) -> Module:
        m = Module()
        c = self.config
        valid, first, last, act, weight = registered_step(m, self, holds=True)
        for filter_ in range(self.filters):
            for pixel in range(c.pixels):
                element = processing_element(c)
                m.submodules[f"pe_f{filter_}_p{pixel}"] = element
                m.d.comb += [
                    element.valid.eq(valid),
                    element.first.eq(first),
                    element.last.eq(last),
                    Value.cast(element.act).eq(act[pixel]),
                    element.weight.eq(weight[filter_]),
                    self.acc[pixel][filter_].eq(element.acc),
                ]
        return m


class PeArray(Component):
    """``filters x pixels`` dot products of ``lanes`` activations per cycle, output-stationary.

    One step per cycle, no backpressure: the sequencer keeps outputs far enough apart to drain.
    Latency ``self.latency`` from a step with ``last`` to ``acc``.

    Members
    -------
    valid, first, last : ``In(1)``, as for :class:`~hw.rtl.array.svpe.Svpe`; without ``valid``,
        ``last`` means nothing
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    weight : ``In(weights_layout(config, filters))``
    acc : ``Out(sums_layout(config, filters))``
    """

    config_fields = ("pe", "lanes", "filters", "pixels", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = section_latency(config)
        super().__init__(step_ports(config, config.filters, config.pixels))

    def build(self) -> Module:
        m = Module()
        c = self.config
        for start in range(0, c.filters, SECTION_FILTERS):
            section = ArraySection(c, min(SECTION_FILTERS, c.filters - start))
            m.submodules[f"section_{start // SECTION_FILTERS}"] = section
            m.d.comb += [
                section.valid.eq(self.valid),
                section.first.eq(self.first),
                section.last.eq(self.last),
                section.act.eq(self.act),
            ]
            for filter_ in range(section.filters):
                m.d.comb += section.weight[filter_].eq(self.weight[start + filter_])
                for pixel in range(c.pixels):
                    acc = section.acc[pixel][filter_]
                    m.d.comb += self.acc[pixel][start + filter_].eq(acc)
        return m
