"""Channel-wise weighted sums over the steps of an output: depthwise layers, averages, additions."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import pe_latency
from hw.rtl.array.array import processing_element
from hw.rtl.component import Component

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
    act : ``In(pixels * lanes * act_bits)``
    weight : ``In(lanes * stored_bits)``
    sum : ``Out(pixels * lanes * acc_bits)``, registered, holds until the next output is complete
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
            "act": In(config.pixels * config.act_word_bits),
            "weight": In(config.lanes * config.stored_weight_bits),
            "sum": Out(config.pixels * config.lanes * config.acc_bits),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        elements = []
        last = Signal()
        m.d.comb += last.eq(self.valid & self.last)
        for index in range(c.pixels * c.lanes):
            element = processing_element(c, lanes=1, radix_bits=c.radix_bits)
            m.submodules[f"pe_p{index // c.lanes}_l{index % c.lanes}"] = element
            m.d.comb += [
                element.valid.eq(self.valid),
                element.first.eq(self.first),
                element.last.eq(last),
                element.grow.eq(self.grow),
                element.act.eq(self.act.word_select(index, c.act_bits)),
                element.weight.eq(self.weight.word_select(index % c.lanes, c.stored_weight_bits)),
            ]
            elements.append(element)
        m.d.comb += self.sum.eq(Cat(element.acc for element in elements))
        return m
