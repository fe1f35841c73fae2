"""What the array waits for: in every cycle without a step, exactly one cause."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.contract.causes import Stall
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["StallCauses"]


#: They come out of long paths.
_EARLY = ("walking", "queued", "wait_load", "wait_compute", "wait_store", "full_load", "full_store",
          "ended", "storing")  # fmt: skip


class StallCauses(Component):
    """In every cycle one of ``stepping`` and ``stalls`` is high, two cycles after what it is of.

    Where several causes are true, the one counts that is nearest to the array.

    Members
    -------
    step, held : ``In(1)``, a cycle ago the array took a step, had positions for one
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
