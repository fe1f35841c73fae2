"""Channel-wise maximum over the steps of an output: max pooling."""

from itertools import product

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.rtl.cells.comparison import Comparison
from hw.rtl.component import Component
from hw.rtl.memory.ports import word_layout

__all__ = ["VectorMax"]


class VectorMax(Component):
    """Running maximum of ``pixels`` vectors of ``lanes`` signed activations.

    Steps and flags are those of :class:`~hw.rtl.array.array.PeArray`, one step per cycle. ``max``
    is valid two cycles after a step with ``last``.

    Members
    -------
    valid, first, last : ``In(1)``
    act : ``In(data.ArrayLayout(word_layout(config), pixels))``
    max : ``Out(...)`` likewise, registered, holds until the next output is complete
    """

    config_fields = ("lanes", "pixels", "act_bits")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = 2
        words = data.ArrayLayout(word_layout(config), config.pixels)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "act": In(words),
                "max": Out(words),
            }
        )

    def build(self) -> Module:
        m = Module()
        bits = self.config.act_bits
        running = Signal.like(self.act)
        # The first step is taken as it is; without a step there is nothing to compare.
        compares = Signal()
        m.d.comb += compares.eq(self.valid & ~self.first)
        for pixel, lane in product(range(self.config.pixels), range(self.config.lanes)):
            new, old = self.act[pixel][lane], running[pixel][lane]
            comparison = Comparison(bits=bits)
            m.submodules[f"comparison_p{pixel}_l{lane}"] = comparison
            m.d.comb += [
                comparison.a.eq(new),
                comparison.b.eq(old),
                comparison.override.eq(~compares),
                comparison.value.eq(self.valid),
            ]
            with m.If(comparison.result):
                m.d.data += old.eq(new)

        complete = Signal()
        m.d.data += complete.eq(self.valid & self.last)
        with m.If(complete):
            m.d.data += self.max.eq(running)
        return m
