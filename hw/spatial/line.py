"""Delays words by a number of slots: rows above a window, and operands that wait for others."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.counting import incremented
from hw.rtl.component import Component

__all__ = ["DelayLine"]

#: For at most so many slots registers are smaller than a memory with its counter.
_REGISTERS = 3


class DelayLine(Component):
    """``o`` is ``i`` of ``slots`` advances ago. It comes from registers without a reset.

    Parameters
    ----------
    width : bits of a word.
    slots : at least 1.

    Members
    -------
    i : ``In(width)``; advance : ``In(1)``; o : ``Out(width)``
    """

    def __init__(self, width: int, slots: int):
        if slots < 1:
            raise ValueError(f"Slots must be 1 or more, not {slots}")
        self.width = width
        self.slots = slots
        super().__init__({"i": In(width), "advance": In(1), "o": Out(width)})

    def build(self) -> Module:
        m = Module()
        if self.slots <= _REGISTERS:
            value = self.i
            with m.If(self.advance):
                for slot in range(self.slots):
                    register = Signal(self.width, name=f"slot_{slot}", reset_less=True)
                    m.d.sync += register.eq(value)
                    value = register
            m.d.comb += self.o.eq(value)
            return m
        # The oldest word is read and the newest takes its place. One more is in the register.
        words = self.slots - 1
        m.submodules.memory = memory = Memory(shape=self.width, depth=words, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        place = Signal(range(words))
        with m.If(self.advance):
            m.d.sync += place.eq(Mux(place == words - 1, 0, incremented(place)))
        m.d.comb += [
            write_port.addr.eq(place),
            write_port.data.eq(self.i),
            write_port.en.eq(self.advance),
            read_port.addr.eq(place),
            read_port.en.eq(self.advance),
            self.o.eq(read_port.data),
        ]
        return m
