"""A queue of stream payloads in memory."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.counting import incremented, stepped
from hw.rtl.component import Component

__all__ = ["StreamFifo"]


class StreamFifo(Component):
    """First in, first out. All outputs are registered; the payload's register is the memory's.

    Latency two cycles when empty, one word per cycle. ``i.valid`` and ``o.ready`` may be late in a
    cycle: at most two tables lie behind them.

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
    empty : ``Out(1)``
        The queue holds no word.
    roomy : ``Out(1)``, registered
        One cycle ago there was room for three words: ``i.ready`` will be high in the next cycle
        too, whatever comes.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        if not isinstance(depth, int):
            raise TypeError(f"Depth must be an integer, not {depth!r}")
        if depth < 3:
            raise ValueError(f"Depth must be 3 or more, not {depth!r}")
        self.shape = Shape.cast(shape)
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "empty": Out(1),
            "roomy": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        words = self.depth - 1
        width = len(Value.cast(self.i.payload))
        m.submodules.memory = memory = Memory(shape=width, depth=words, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()

        # Words in the memory, without the output register; whether there is room; whether there is
        # a word.
        count = Signal(range(words + 1))
        room = Signal(init=1)
        some = Signal()
        write = Signal()
        read = Signal()
        m.d.comb += [
            write.eq(self.i.valid & room),
            read.eq(some & (self.o.ready | ~self.o.valid)),
            self.i.ready.eq(room),
            self.empty.eq(~some & ~self.o.valid),
        ]
        m.d.sync += [
            count.eq(stepped(count, write, read)),
            # Written so that only one table is behind `i.valid` and `o.ready`.
            room.eq(read | (room & ~(self.i.valid & (count == words - 1)))),
            some.eq(write | (some & ~((self.o.ready | ~self.o.valid) & (count == 1)))),
            self.o.valid.eq(some | (self.o.valid & ~self.o.ready)),
            self.roomy.eq(count <= words - 3),
        ]

        for port, moved in ((write_port, write), (read_port, read)):
            address = Signal(range(words), name="written" if port is write_port else "taken")
            m.d.comb += [port.addr.eq(address), port.en.eq(moved)]
            with m.If(moved):
                m.d.sync += address.eq(Mux(address == words - 1, 0, incremented(address)))
        m.d.comb += [
            write_port.data.eq(self.i.payload),
            Value.cast(self.o.payload).eq(read_port.data),
        ]
        return m
