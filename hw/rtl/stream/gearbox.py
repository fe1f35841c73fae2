"""Packs narrow beats into wide words, and unpacks words into beats; the lowest bits come first."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.counting import incremented
from hw.rtl.component import Component

__all__ = ["Packer", "Unpacker"]


class Packer(Component):
    """Gathers beats into words; the first beat is the word's lowest bits.

    A beat per cycle without gaps. The word is offered one cycle after its last beat.

    Parameters
    ----------
    beat_width : int
        Bits of a beat.
    beats : int
        Beats of a word, 1 or more.

    Members
    -------
    i : ``In(stream.Signature(beat_width))``
    o : ``Out(stream.Signature(beat_width * beats))``
    clear : ``In(1)``
        Forgets the beats and the word it holds.
    """

    def __init__(self, beat_width: int, beats: int):
        _check(beat_width, beats)
        self.beat_width = beat_width
        self.beats = beats
        super().__init__({
            "i": In(stream.Signature(beat_width)),
            "o": Out(stream.Signature(beat_width * beats)),
            "clear": In(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        # All beats of the word but the last; the last one completes the word in the output. At
        # least one bit, because Verilog has no empty signals.
        gathered = Signal(self.beat_width * max(1, self.beats - 1))
        count = Signal(range(max(2, self.beats)))
        before_last = self.beat_width * (self.beats - 1)
        # Whether the next beat is the word's last; computed one beat ahead.
        last = Signal(init=self.beats == 1)
        m.d.comb += self.i.ready.eq(~last | self.o.ready | ~self.o.valid)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            with m.If(last):
                m.d.sync += [
                    count.eq(0),
                    last.eq(self.beats == 1),
                    self.o.valid.eq(1),
                ]
                m.d.data += self.o.payload.eq(Cat(gathered[:before_last], self.i.payload))
            with m.Else():
                m.d.sync += [
                    count.eq(incremented(count)),
                    last.eq(count == self.beats - 2),
                ]
                m.d.data += gathered.word_select(count, self.beat_width).eq(self.i.payload)
        with m.If(self.clear):
            m.d.sync += [count.eq(0), last.eq(self.beats == 1), self.o.valid.eq(0)]
        return m


class Unpacker(Component):
    """Splits words into beats, the word's lowest bits first.

    A beat per cycle without gaps; the first one cycle after its word.

    Parameters
    ----------
    beat_width : int
        Bits of a beat.
    beats : int
        Beats of a word, 1 or more.

    Members
    -------
    i : ``In(stream.Signature(beat_width * beats))``
    o : ``Out(stream.Signature(beat_width))``
    clear : ``In(1)``
        Forgets the word it holds.
    """

    def __init__(self, beat_width: int, beats: int):
        _check(beat_width, beats)
        self.beat_width = beat_width
        self.beats = beats
        super().__init__({
            "i": In(stream.Signature(beat_width * beats)),
            "o": Out(stream.Signature(beat_width)),
            "clear": In(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        word = Signal(self.beat_width * self.beats)
        left = Signal(range(self.beats + 1))
        m.d.comb += [
            self.o.payload.eq(word[: self.beat_width]),
            self.o.valid.eq(left != 0),
            self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.data += word.eq(word >> self.beat_width)
            m.d.sync += left.eq(left - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.data += word.eq(self.i.payload)
            m.d.sync += left.eq(self.beats)
        with m.If(self.clear):
            m.d.sync += left.eq(0)
        return m


def _check(beat_width: int, beats: int) -> None:
    for name, value in (("Beat width", beat_width), ("Beats", beats)):
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value!r}")
