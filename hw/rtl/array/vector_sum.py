"""Channel-wise weighted sums over the steps of an output: depthwise layers, averages, additions."""

from itertools import product
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import sum_latency
from hw.rtl.array.array import processing_element, sums_layout
from hw.rtl.array.digits import Digits, digit_flags
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = ["VectorSum"]


class VectorSum(Component):
    """``pixels x lanes`` accumulators, each with one lane like those of the array.

    The array sums over channels; this unit keeps them apart. Every channel has a weight of its own,
    shared along the pixels. One step per cycle; ``sum`` is valid ``self.latency`` cycles after a
    step with ``last``.

    A factor that is no power of two takes several passes over the window, one for each of its
    digits. A step with ``grow`` begins a pass: it first multiplies the running sum by
    ``2**radix_bits``.

    With ``depthwise_taps`` the first ``tap_pixels`` pixels have a lane for each tap, and every tap
    a weight. A tap reads the word of its pixel, the next one that of the next pixel, and so on.
    Steps of one tap have zeros as further weights. The results of all pixels come together.

    Where the configuration has products, an activation may be the factor: the first step of an
    output takes it, the others multiply by its digits (:class:`~hw.rtl.array.digits.Digits`).

    Members
    -------
    valid, first, last, grow : ``In(1)``
    factor : ``In(digit_flags())``, where the configuration has products
    act : ``In(data.ArrayLayout(word_layout(config), read_words))``
    weight : ``In(data.ArrayLayout(stored weight bits, depthwise_taps * lanes))``, tap by tap
    sum : ``Out(sums_layout(config, lanes))``, registered, holds until the next output is complete
    """

    config_fields = (
        *("pe", "lanes", "pixels", "act_bits", "weight_bits", "acc_bits"),
        *("products", "taps_name"),
    )

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = sum_latency(config)
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "grow": In(1),
            **({"factor": In(digit_flags())} if config.products else {}),
            "act": In(data.ArrayLayout(word_layout(config), config.read_words)),
            "weight": In(
                data.ArrayLayout(config.stored_weight_bits, config.depthwise_taps * config.lanes)
            ),
            "sum": Out(sums_layout(config, config.lanes)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        taps = c.depthwise_taps
        step = self._step(m)
        # Pixels of one tap would be a cycle earlier than the others, so their steps come later.
        late = self._delayed(m, step) if taps > 1 and c.tap_pixels < c.pixels else step
        # Multipliers negate.
        exact = c.products and c.pe == "shift"
        for pixel, lane in product(range(c.pixels), range(c.lanes)):
            several = taps > 1 and pixel < c.tap_pixels
            now = step if several else late
            lanes = taps if several else 1
            acts = [now.act[pixel + tap][lane] for tap in range(lanes)]
            weights = [now.weight[tap * c.lanes + lane] for tap in range(lanes)]
            element = processing_element(
                c, lanes=lanes, radix_bits=c.radix_bits, exact=exact, taps=several
            )
            m.submodules[f"pe_p{pixel}_l{lane}"] = element
            if c.products:
                digits = Digits(c)
                m.submodules[f"digits_p{pixel}_l{lane}"] = digits
                m.d.comb += [
                    digits.enable.eq(now.enable),
                    digits.flags.eq(now.factor),
                    digits.act.eq(acts[0]),
                    digits.weight.eq(weights[0]),
                ]
                weights[0] = digits.code
            if exact:
                m.d.comb += element.whole.eq(now.factor.digit)
            if several:
                m.d.comb += element.single.eq(now.factor.product if c.products else 0)
            m.d.comb += [
                element.valid.eq(now.valid),
                element.first.eq(now.first),
                element.last.eq(now.last),
                element.grow.eq(now.grow),
                *(port.eq(act) for port, act in zip(element.act, acts, strict=True)),
                *(port.eq(weight) for port, weight in zip(element.weight, weights, strict=True)),
                self.sum[pixel][lane].eq(element.acc),
            ]
        return m

    def _step(self, m: Module) -> "_Step":
        last = Signal()
        m.d.comb += last.eq(self.valid & self.last)
        enable = Signal()
        factor = None
        if self.config.products:
            factor = self.factor
            m.d.comb += enable.eq(self.valid & (factor.take | factor.turn))
        return _Step(self.valid, last, self.first, self.grow, enable, factor, self.act, self.weight)

    def _delayed(self, m: Module, step: "_Step") -> "_Step":
        """The step of one cycle ago, for the pixels of one tap."""
        c = self.config
        pixels = range(c.tap_pixels, c.pixels)
        valid, last = delayed(m, ("late_valid", "late_last"), (step.valid, step.last), 1)
        flags = [step.first, step.grow]
        if c.products:
            flags += [step.enable, Value.cast(step.factor)]
        values = [
            *flags,
            *(Value.cast(step.act[pixel]) for pixel in pixels),
            Cat(step.weight[lane] for lane in range(c.lanes)),
        ]
        names = [f"late_{number}" for number in range(len(values))]
        late = list(delayed(m, names, values, 1, domain="data"))
        first, grow = late[:2]
        enable, factor = None, None
        if c.products:
            enable, factor = late[2], data.View(digit_flags(), late[3])
        word = word_layout(c)
        act = {
            pixel: data.View(word, value)
            for pixel, value in zip(pixels, late[len(flags) : -1], strict=True)
        }
        weight = data.View(data.ArrayLayout(c.stored_weight_bits, c.lanes), late[-1])
        return _Step(valid, last, first, grow, enable, factor, act, weight)


class _Step(NamedTuple):
    """What elements take in a cycle; ``enable`` and ``factor`` where there are products."""

    valid: Value
    #: Only with ``valid``.
    last: Value
    first: Value
    grow: Value
    enable: Value | None
    factor: data.View | None
    #: By pixel, lane by lane.
    act: data.View | dict[int, data.View]
    weight: data.View
