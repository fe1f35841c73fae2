"""Beats of an AXI4-Stream as slots: when the circuit goes on, and when it waits."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.flow import Grid
from hw.spatial.frame import Frame

__all__ = ["Pacemaker"]


class Pacemaker(Component):
    """Decides in each cycle whether there is a slot, and whether it takes a beat.

    A position of an image waits for its beat. Slots outside the map take no beat. If no image
    follows, rows without beats go on, one pause after the other, until all results are out.
    Then there are no slots until the next image.

    Parameters
    ----------
    frame : slots of an image.
    grid : grid of the input.
    interval : fewest cycles from one slot to the next.

    Members
    -------
    allow : ``In(1)``, there is room for the results that a slot may bring out
    busy : ``In(1)``, an image is inside
    valid : ``In(1)``, a beat is offered; ready : ``Out(1)``, an offered beat is taken
    slot : ``Out(1)``, this cycle has a slot; first, last : ``Out(1)``, an image's first, last beat
    """

    def __init__(self, frame: Frame, grid: Grid, interval: int):
        self.frame = frame
        self.grid = grid
        self.interval = interval
        super().__init__({
            "allow": In(1), "busy": In(1), "valid": In(1), "ready": Out(1),
            "slot": Out(1), "first": Out(1), "last": Out(1),
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        frame, grid = self.frame, self.grid
        return (
            f"nbqnn_pacemaker_{grid.height}_{grid.width}_in_{frame.rows}_{frame.row}"
            f"_pause{frame.pause}_interval{self.interval}"
        )

    def build(self) -> Module:
        m = Module()
        frame, grid = self.frame, self.grid
        x, y = Signal(range(frame.row)), Signal(range(frame.rows))
        pausing, due = Signal(), Signal(init=1)
        begins = (x == 0) & (y == 0) & ~pausing
        position = (x < grid.width) & (y < grid.height) & ~pausing
        empty = Mux(position, begins & self.busy & ~self.valid, 1)
        if grid.single:
            empty = Const(0, 1)
        may = self.allow & due
        m.d.comb += [
            self.ready.eq(may & position),
            self.slot.eq(may & Mux(empty, 1, self.valid & position)),
            self.first.eq(begins & self.valid),
            self.last.eq((x == grid.width - 1) & (y == grid.height - 1) & ~pausing),
        ]
        rows = Mux(pausing | (begins & ~self.valid), frame.pause, frame.rows)
        with m.If(self.slot):
            with m.If(begins & ~self.valid):
                m.d.sync += pausing.eq(1)
            with m.If(x == frame.row - 1):
                m.d.sync += x.eq(0)
                with m.If(y == rows - 1):
                    m.d.sync += [y.eq(0), pausing.eq(0)]
                with m.Else():
                    m.d.sync += y.eq(y + 1)
            with m.Else():
                m.d.sync += x.eq(x + 1)
        if self.interval > 1:
            left = Signal(range(self.interval))
            with m.If(self.slot):
                m.d.sync += [left.eq(self.interval - 2), due.eq(0)]
            with m.Elif(~due):
                m.d.sync += [left.eq(left - 1), due.eq(left == 0)]
        return m
