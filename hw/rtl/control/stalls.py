"""Names one cause for every cycle in which the array takes no step."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.contract.causes import Stall
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["StallCauses"]


#: Inputs that come out of long paths. A register brings them to the cycle of ``step`` and ``held``.
_EARLY = ("walking", "queued", "wait_load", "wait_compute", "wait_store", "full_load", "full_store",
          "ended", "storing")  # fmt: skip


class StallCauses(Component):
    """Says for every cycle that the array took a step, or why it did not; latency two cycles.

    Exactly one bit of ``stepping`` and ``stalls`` is high. If there are several causes, the one
    nearest to the array counts.

    Members
    -------
    step : ``In(1)``, one cycle ago the array took a step
    held : ``In(1)``, one cycle ago there were positions for a step
    walking : ``In(1)``, a command that was taken has positions left
    queued : ``In(1)``, a command is there to be taken
    wait_load, wait_compute, wait_store : ``In(1)``, it waits for commands of that engine
    full_load, full_store : ``In(1)``, the next descriptor waits for room in that queue
    ended : ``In(1)``, the END has been fetched
    storing : ``In(1)``, stores are queued or under way
    stepping : ``Out(1)``
    stalls : ``Out(5)``, a bit for each :class:`Stall`
    """

    def __init__(self):
        inputs = ("step", "held", *_EARLY)
        super().__init__(
            {name: In(1) for name in inputs}
            | {"stepping": Out(1), "stalls": Out(len(Stall), init=1 << Stall.OTHER)}
        )

    def build(self) -> Module:
        m = Module()
        early = delayed(m, _EARLY, [getattr(self, name) for name in _EARLY], 1)
        before = dict(zip(_EARLY, early, strict=True))
        stepping = Signal()
        stalls = Signal(len(Stall))

        def count(cause: Stall):
            return stalls.eq(1 << cause)

        with m.If(self.step):
            m.d.comb += stepping.eq(1)
        with m.Elif(self.held):
            m.d.comb += count(Stall.DRAIN)
        with m.Elif(before["walking"]):
            m.d.comb += count(Stall.OTHER)
        with m.Elif(before["queued"]):
            with m.If(before["wait_load"]):
                m.d.comb += count(Stall.LOAD)
            with m.Elif(before["wait_compute"]):
                m.d.comb += count(Stall.DRAIN)
            with m.Elif(before["wait_store"]):
                m.d.comb += count(Stall.STORE)
            with m.Else():
                m.d.comb += count(Stall.OTHER)
        with m.Elif(before["full_load"]):
            m.d.comb += count(Stall.LOAD)
        with m.Elif(before["full_store"] | (before["ended"] & before["storing"])):
            m.d.comb += count(Stall.STORE)
        with m.Elif(~before["ended"]):
            m.d.comb += count(Stall.FETCH)
        with m.Else():
            m.d.comb += count(Stall.OTHER)
        m.d.sync += [self.stepping.eq(stepping), self.stalls.eq(stalls)]
        return m
