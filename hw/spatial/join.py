"""Several flows of one grid as one: each waits for the others."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.spatial.flow import flow

__all__ = ["Join"]


class Join(Component):
    """Joins slots of the same number side by side. Latency 2 cycles from the last of them.

    Parameters
    ----------
    widths : bits of each flow.
    depths : most slots of each flow that wait for the others, 3 or more.

    Members
    -------
    i0, i1, ... : a :func:`flow` each; o : a :func:`flow` of all bits, those of ``i0`` lowest
    """

    latency = 2

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...]):
        self.widths = widths
        self.depths = depths
        flows = {f"i{number}": In(flow(width)) for number, width in enumerate(widths)}
        super().__init__(flows | {"o": Out(flow(sum(widths)))})

    def build(self) -> Module:
        m = Module()
        queues = []
        for number, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            source = getattr(self, f"i{number}")
            queue = StreamFifo(data.StructLayout({"first": 1, "data": width}), depth)
            m.submodules[f"queue_{number}"] = queue
            m.d.comb += [
                queue.i.valid.eq(source.valid),
                queue.i.payload.first.eq(source.payload.first),
                queue.i.payload.data.eq(source.payload.data),
                queue.o.ready.eq(self.o.valid),
            ]
            queues.append(queue)
        m.d.comb += [
            self.o.valid.eq(Cat(queue.o.valid for queue in queues).all()),
            self.o.payload.first.eq(queues[0].o.payload.first),
            self.o.payload.data.eq(Cat(queue.o.payload.data for queue in queues)),
        ]
        return m
