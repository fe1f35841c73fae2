"""Channel-wise weighted sums over the steps of an output: depthwise layers, averages, additions."""

from itertools import product

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import pe_latency
from hw.rtl.array.array import processing_element, sums_layout
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = ["VectorSum"]


class VectorSum(Component):
    """``pixels x lanes`` accumulators, each with one lane of the array's kind.

    Where the array reduces channels, this unit keeps them apart: every channel has its own weight
    code, shared along the pixels. One step per cycle, latency ``self.latency`` cycles from a step
    with ``last`` to ``sum``; growth and wrapping as in :class:`~hw.rtl.array.svpe.Svpe`.

    A window may be gone over several times: a step with ``grow`` first multiplies what has been
    summed up by ``2**radix_bits``, so that every time adds one digit of a factor.

    Members
    -------
    valid, first, last, grow : ``In(1)``
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    weight : ``In(data.ArrayLayout(stored weight bits, lanes))``
    sum : ``Out(sums_layout(config, lanes))``, registered, holds until the next output is complete
    """

    config_fields = ("pe", "lanes", "pixels", "act_bits", "weight_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = pe_latency(1)
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "grow": In(1),
            "act": In(data.ArrayLayout(word_layout(config), config.pixels)),
            "weight": In(data.ArrayLayout(config.stored_weight_bits, config.lanes)),
            "sum": Out(sums_layout(config, config.lanes)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        last = Signal()
        m.d.comb += last.eq(self.valid & self.last)
        for pixel, lane in product(range(c.pixels), range(c.lanes)):
            element = processing_element(c, lanes=1, radix_bits=c.radix_bits)
            m.submodules[f"pe_p{pixel}_l{lane}"] = element
            m.d.comb += [
                element.valid.eq(self.valid),
                element.first.eq(self.first),
                element.last.eq(last),
                element.grow.eq(self.grow),
                element.act[0].eq(self.act[pixel][lane]),
                element.weight[0].eq(self.weight[lane]),
                self.sum[pixel][lane].eq(element.acc),
            ]
        return m
