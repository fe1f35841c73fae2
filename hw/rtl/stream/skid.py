"""A register in a stream that cuts the paths of valid, payload and ready."""

from amaranth.hdl import Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.choice import Choice
from hw.rtl.component import Component

__all__ = ["SkidBuffer"]


class SkidBuffer(Component):
    """A buffer of two words; all outputs are registered.

    Latency one cycle, one word per cycle.

    Parameters
    ----------
    shape : ShapeLike
        Shape of the payload.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    def __init__(self, shape: ShapeLike):
        self.shape = Shape.cast(shape)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def build(self) -> Module:
        m = Module()
        # The word that arrives while the output cannot take it: `ready` was high already.
        spare = Signal(self.shape)
        ready = Signal(init=1)
        choice = Choice(ways=2, width=len(Value.cast(spare)))
        m.submodules.choice = choice
        m.d.comb += [
            self.i.ready.eq(ready),
            choice.words[0].eq(spare),
            choice.words[1].eq(self.i.payload),
            choice.select.eq(ready),
        ]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.i.valid | ~ready), ready.eq(1)]
            m.d.data += Value.cast(self.o.payload).eq(choice.chosen)
        with m.Elif(self.i.valid & ready):
            m.d.sync += ready.eq(0)
        with m.If(ready):
            m.d.data += spare.eq(self.i.payload)
        return m
