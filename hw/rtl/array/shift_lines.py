"""Delays words: lane by lane, and as a whole."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.timing import SHIFT_CYCLES
from hw.rtl.component import Component

__all__ = ["ShiftLines"]


class ShiftLines(Component):
    """Gives a word's lanes one after the other, and the whole word at the end.

    A shift register in a look-up table has both outputs. There is no reset.

    Parameters
    ----------
    lanes : int
    bits : int
        Bits of a lane.
    length : int
        Lanes that are delayed differently; the next ones begin anew.
    first : int
        Delay of the first of them, in cycles. Each following one is delayed by a cycle more, the
        last one by :data:`~hw.contract.timing.SHIFT_CYCLES` at most.

    Members
    -------
    word : ``In(data.ArrayLayout(bits, lanes))``
    skewed : ``Out``, the same layout: lane i of ``first + i % length`` cycles ago
    late : ``Out``, the word of ``SHIFT_CYCLES`` cycles ago
    """

    def __init__(self, *, lanes: int, bits: int, length: int, first: int):
        self.lanes = lanes
        self.bits = bits
        self.length = length
        self.first = first
        layout = data.ArrayLayout(bits, lanes)
        super().__init__({"word": In(layout), "skewed": Out(layout), "late": Out(layout)})

    def delay(self, lane: int) -> int:
        """Cycles from ``word`` to ``skewed``."""
        return self.first + lane % self.length

    def build(self) -> Module:
        m = Module()
        stages, before = [], self.word
        for number in range(SHIFT_CYCLES):
            stage = Signal.like(self.word, name=f"stage_{number}")
            m.d.data += stage.eq(before)
            stages.append(stage)
            before = stage
        for lane in range(self.lanes):
            m.d.comb += self.skewed[lane].eq(stages[self.delay(lane) - 1][lane])
        m.d.comb += self.late.eq(before)
        return m
