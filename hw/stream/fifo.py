"""A queue of stream payloads in memory."""

from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.stream.names import shape_name

__all__ = ["StreamFifo"]


class StreamFifo(wiring.Component):
    """First in, first out; the payload leaves from the memory's output register.

    Latency two cycles when empty, one word per cycle.

    Parameters
    ----------
    shape : ShapeLike
        Shape of the payload.
    depth : int
        Words it can hold, 3 or more: one in the output register, the others in memory.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    level : ``Out(range(depth + 1))``
        Words it holds.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        if not isinstance(depth, int):
            raise TypeError(f"Depth must be an integer, not {depth!r}")
        if depth < 3:
            raise ValueError(f"Depth must be 3 or more, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        return f"nbqnn_fifo_{shape_name(self.shape)}_d{self.depth}"

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(Value.cast(self.i.payload))
        m.submodules.queue = queue = SyncFIFOBuffered(width=width, depth=self.depth)
        payload = Signal(width)
        m.d.comb += [
            payload.eq(queue.r_data),
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(payload),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
            self.level.eq(queue.level),
        ]
        return m
