"""Which position a slot holds, and where a later map begins."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["LaterFirst", "Raster"]


class Raster(Component):
    """Finds the position of this cycle's slot. Every ``stride``-th slot and row has a position.

    Parameters
    ----------
    row : slots of a row, a multiple of the horizontal stride.
    height : rows of the map; ``y`` stays at ``height`` until the next map begins.
    stride : (vertical, horizontal).

    Members
    -------
    slot : ``In(1)``, this cycle has a slot; first : ``In(1)``, it is the map's first one
    here : ``Out(1)``, the slot is the position in column ``x`` and row ``y``
    """

    def __init__(self, row: int, height: int, stride: tuple[int, int]):
        if row % stride[1]:
            raise ValueError(f"Row must be a multiple of {stride[1]} slots, not {row}")
        self.row = row
        self.height = height
        self.stride = stride
        super().__init__({
            "slot": In(1), "first": In(1), "here": Out(1),
            "x": Out(range(row // stride[1])), "y": Out(range(height + 1)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        down, right = self.stride
        ends = {"step": right, "x": self.row // right, "line": down}
        counters = {name: Signal(range(end), name=f"{name}_next") for name, end in ends.items()}
        counters["y"] = Signal(range(self.height + 1), name="y_next")
        # The first slot of a map is position 0, wherever the counters are.
        now = {name: Mux(self.first, 0, counter) for name, counter in counters.items()}
        turn = Const(1, 1)
        with m.If(self.slot):
            for name, end in ends.items():
                last = Const(1, 1) if end == 1 else now[name] == end - 1
                after = Mux(last, 0, now[name] + 1)
                m.d.sync += counters[name].eq(Mux(turn, after, now[name]))
                turn = turn & last
            below = turn & (now["y"] != self.height)
            m.d.sync += counters["y"].eq(now["y"] + below)
        m.d.comb += [
            self.x.eq(now["x"]),
            self.y.eq(now["y"]),
            self.here.eq((now["step"] == 0) & (now["line"] == 0)),
        ]
        return m


class LaterFirst(Component):
    """Delays the mark of a map's first slot by ``slots`` slots.

    Parameters
    ----------
    slots : how many, fewer than from one map's first slot to the next; 0 for no delay.

    Members
    -------
    slot : ``In(1)``; first : ``In(1)``; later : ``Out(1)``, the delayed mark, in a slot's cycle
    """

    def __init__(self, slots: int):
        self.slots = slots
        super().__init__({"slot": In(1), "first": In(1), "later": Out(1)})

    def build(self) -> Module:
        m = Module()
        if not self.slots:
            m.d.comb += self.later.eq(self.slot & self.first)
            return m
        left = Signal(range(self.slots + 1))
        with m.If(self.slot):
            m.d.sync += left.eq(Mux(self.first, self.slots, left - (left != 0)))
        m.d.comb += self.later.eq(self.slot & (left == 1))
        return m
