"""The window of a kernel, position by position, from a map that comes row by row."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.flow import Grid, flow
from hw.spatial.line import DelayLine
from hw.spatial.raster import LaterFirst, Raster

__all__ = ["Window", "WindowPlan"]


@dataclass(frozen=True)
class WindowPlan:
    """A kernel that moves over a map.

    name : letters, digits and underscores.
    words, bits : number of channels, and bits of each.
    source, result : grids; the rows of ``result`` are shorter by the horizontal stride.
    kernel, stride : (vertical, horizontal).
    before : rows and columns of padding before the map, fewer than those of the kernel.
    fill : the code of positions outside.
    """

    name: str
    words: int
    bits: int
    source: Grid
    result: Grid
    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    fill: int

    @property
    def lag(self) -> tuple[int, int]:
        """Rows and slots from the map's first position to the first window's last one."""
        return tuple(k - 1 - b for k, b in zip(self.kernel, self.before, strict=True))

    @property
    def slots(self) -> int:
        """``lag`` as a number of slots."""
        return self.lag[0] * self.source.row + self.lag[1]

    def outside(self, axis: int) -> list[tuple[int, int]]:
        """For each tap the (first, last) position of the result at which it is inside the map."""
        size = (self.source.height, self.source.width)[axis]
        step, before = self.stride[axis], self.before[axis]
        ends = []
        for tap in range(self.kernel[axis]):
            first = max(0, -((tap - before) // step))
            ends.append((first, (size - 1 - tap + before) // step))
        return ends


class Window(Component):
    """All positions under a kernel at once, those outside the map as ``fill``.

    Delay lines hold the rows above. Registers hold the columns under the kernel. Output registers
    take the window; those of positions outside are set to ``fill`` instead, by the register's
    reset. Latency 2 cycles from the slot of the window's last position, which may be outside the
    map. That slot comes ``plan.slots`` slots after the slot of the same number.

    Members
    -------
    i : a :func:`flow` of ``words * bits``
    o : a :func:`flow` of ``kernel * words * bits``, row by row
    """

    latency = 2

    def __init__(self, plan: WindowPlan):
        self.plan = plan
        width = plan.words * plan.bits
        super().__init__({
            "i": In(flow(width)),
            "o": Out(flow(plan.kernel[0] * plan.kernel[1] * width)),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return f"nbqnn_window_{self.plan.name}"

    def build(self) -> Module:
        m = Module()
        plan = self.plan
        here, first, masks = self._position(m)
        columns = self._columns(m)
        width = plan.words * plan.bits
        fill = Cat([Const(plan.fill, plan.bits)] * plan.words)
        taps = []
        for row in range(plan.kernel[0]):
            for column in range(plan.kernel[1]):
                value = columns[plan.kernel[1] - 1 - column].word_select(row, width)
                tap = Signal(width, name=f"tap_{row}_{column}", reset_less=True)
                hidden = masks[0][row] | masks[1][column]
                with m.If(here):
                    m.d.sync += tap.eq(Mux(hidden, fill, value))
                taps.append(tap)
        m.d.sync += self.o.valid.eq(here)
        begins = Signal(reset_less=True)
        m.d.sync += begins.eq(first)
        m.d.comb += [self.o.payload.data.eq(Cat(taps)), self.o.payload.first.eq(begins)]
        return m

    def _columns(self, m: Module) -> list[Value]:
        """The latest columns, the newest first, each with all rows of the kernel."""
        plan = self.plan
        value = self.i.payload.data
        rows = [value]
        for above in range(1, plan.kernel[0]):
            line = DelayLine(len(value), plan.source.row)
            m.submodules[f"row_{above}"] = line
            m.d.comb += [line.i.eq(rows[0]), line.advance.eq(self.i.valid)]
            rows.insert(0, line.o)
        value, columns = Cat(rows), []
        for number in range(plan.kernel[1]):
            column = Signal(len(value), name=f"column_{number}", reset_less=True)
            with m.If(self.i.valid):
                m.d.sync += column.eq(value)
            columns.append(column)
            value = column
        return columns

    def _position(self, m: Module) -> tuple[Value, Value, list[list[Value]]]:
        """In the cycle after a slot: if a window is there, if it is the first, taps outside."""
        plan = self.plan
        slot = self.i.valid
        m.submodules.begin = begin = LaterFirst(plan.slots)
        m.submodules.raster = raster = Raster(plan.source.row, plan.result.height, plan.stride)
        begun, here, first = Signal(), Signal(), Signal(reset_less=True)
        m.d.comb += [
            begin.slot.eq(slot),
            begin.first.eq(self.i.payload.first),
            raster.slot.eq(slot),
            raster.first.eq(begin.later),
        ]
        m.d.sync += begun.eq(begun | begin.later)
        emits = slot & (begun | begin.later) & raster.here
        if plan.result.single:
            emits = emits & (raster.x == 0) & (raster.y == 0)
        m.d.sync += [here.eq(emits), first.eq(begin.later)]
        sizes = (plan.result.height, plan.result.width)
        masks = []
        for axis, place in enumerate((raster.y, raster.x)):
            masks.append([])
            for tap, (low, high) in enumerate(plan.outside(axis)):
                hidden = Const(0, 1)
                if low > 0:
                    hidden = hidden | (place < low)
                if high < sizes[axis] - 1:
                    hidden = hidden | (place > high)
                if not isinstance(hidden, Const):
                    flag = Signal(name=f"outside_{axis}_{tap}", reset_less=True)
                    m.d.sync += flag.eq(hidden)
                    hidden = flag
                masks[-1].append(hidden)
        return here, first, masks
