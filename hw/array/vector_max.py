"""Channel-wise maximum over the steps of an output: max pooling."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import AcceleratorConfig

__all__ = ["VectorMax"]


class VectorMax(wiring.Component):
    """Running maximum of ``pixels`` vectors of ``lanes`` signed activations.

    Steps and flags as for :class:`~hw.array.array.PeArray`, one step per cycle, no bit growth.
    Latency two cycles from a step with ``last`` to ``max_valid``.

    Members
    -------
    valid, first, last : ``In(1)``
    act : ``In(pixels * lanes * act_bits)``
    max : ``Out(pixels * lanes * act_bits)``, registered, holds until the next output is complete
    max_valid : ``Out(1)``
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.latency = 2
        width = config.pixels * config.act_word_bits
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "act": In(width),
                "max": Out(width),
                "max_valid": Out(1),
            }
        )

    @property
    def module_name(self) -> str:
        c = self.config
        return f"nbqnn_vector_max_l{c.lanes}_p{c.pixels}_a{c.act_bits}"

    def elaborate(self, platform):
        m = Module()
        bits = self.config.act_bits
        running = Signal(len(self.act), reset_less=True)
        larger = []
        for index in range(len(self.act) // bits):
            new = self.act.word_select(index, bits)
            old = running.word_select(index, bits)
            keep_old = ~self.first & (old.as_signed() > new.as_signed())
            larger.append(Mux(keep_old, old, new))
        with m.If(self.valid):
            m.d.sync += running.eq(Cat(*larger))

        done = Signal()
        m.d.sync += [done.eq(self.valid & self.last), self.max_valid.eq(done)]
        with m.If(done):
            m.d.sync += self.max.eq(running)
        return m
