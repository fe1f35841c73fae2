"""Makes slots that come in bursts follow one another evenly."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.spatial.flow import flow

__all__ = ["Pacer"]


class Pacer(Component):
    """The same slots, at least ``interval`` cycles apart. Latency 2 cycles if a slot does not wait.

    Parameters
    ----------
    width : bits of a slot.
    interval : fewest cycles from one slot to the next, 2 or more.
    depth : most slots that wait, 3 or more.

    Members
    -------
    i, o : a :func:`flow` each of ``width``
    """

    latency = 2

    def __init__(self, width: int, interval: int, depth: int):
        self.width = width
        self.interval = interval
        self.depth = depth
        super().__init__({"i": In(flow(width)), "o": Out(flow(width))})

    def build(self) -> Module:
        m = Module()
        queue = StreamFifo(data.StructLayout({"first": 1, "data": self.width}), self.depth)
        m.submodules.queue = queue
        due, left = Signal(init=1), Signal(range(self.interval))
        m.d.comb += [
            queue.i.valid.eq(self.i.valid),
            queue.i.payload.first.eq(self.i.payload.first),
            queue.i.payload.data.eq(self.i.payload.data),
            queue.o.ready.eq(due),
            self.o.valid.eq(queue.o.valid & due),
            self.o.payload.first.eq(queue.o.payload.first),
            self.o.payload.data.eq(queue.o.payload.data),
        ]
        with m.If(self.o.valid):
            m.d.sync += [left.eq(self.interval - 2), due.eq(0)]
        with m.Elif(~due):
            m.d.sync += [left.eq(left - 1), due.eq(left == 0)]
        return m
