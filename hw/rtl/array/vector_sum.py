"""Channel-wise weighted sums over the steps of an output: depthwise layers, averages, additions."""

from itertools import product

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import pe_latency
from hw.rtl.array.array import processing_element, sums_layout
from hw.rtl.array.digits import Digits, digit_flags
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

    Where the configuration has products, an activation may be the factor: the first step of an
    output takes it, the others multiply by its digits (:class:`~hw.rtl.array.digits.Digits`).

    Members
    -------
    valid, first, last, grow : ``In(1)``
    factor : ``In(digit_flags())``, where the configuration has products
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    weight : ``In(data.ArrayLayout(stored weight bits, lanes))``
    sum : ``Out(sums_layout(config, lanes))``, registered, holds until the next output is complete
    """

    config_fields = (
        *("pe", "lanes", "pixels", "act_bits", "weight_bits", "acc_bits"),
        "products",
    )

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = pe_latency(1)
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "grow": In(1),
            **({"factor": In(digit_flags())} if config.products else {}),
            "act": In(data.ArrayLayout(word_layout(config), config.pixels)),
            "weight": In(data.ArrayLayout(config.stored_weight_bits, config.lanes)),
            "sum": Out(sums_layout(config, config.lanes)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        last = Signal()
        m.d.comb += last.eq(self.valid & self.last)
        # Multipliers negate.
        exact = c.products and c.pe == "shift"
        enable = Signal()
        if c.products:
            m.d.comb += enable.eq(self.valid & (self.factor.take | self.factor.turn))
        for pixel, lane in product(range(c.pixels), range(c.lanes)):
            act, weight = self.act[pixel][lane], self.weight[lane]
            element = processing_element(c, lanes=1, radix_bits=c.radix_bits, exact=exact)
            m.submodules[f"pe_p{pixel}_l{lane}"] = element
            if c.products:
                digits = Digits(c)
                m.submodules[f"digits_p{pixel}_l{lane}"] = digits
                m.d.comb += [
                    digits.enable.eq(enable),
                    digits.flags.eq(self.factor),
                    digits.act.eq(act),
                    digits.weight.eq(weight),
                ]
                weight = digits.code
            if exact:
                m.d.comb += element.whole.eq(self.factor.digit)
            m.d.comb += [
                element.valid.eq(self.valid),
                element.first.eq(self.first),
                element.last.eq(last),
                element.grow.eq(self.grow),
                element.act[0].eq(act),
                element.weight[0].eq(weight),
                self.sum[pixel][lane].eq(element.acc),
            ]
        return m
