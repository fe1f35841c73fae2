"""The parts of a network's circuit, and when slots pass through them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hw.rtl.component import Component
from hw.spatial import area
from hw.spatial.digit_serial import DigitSerialLayer, DigitSerialPlan
from hw.spatial.errors import SpatialError
from hw.spatial.flow import Grid
from hw.spatial.folded import FoldedLayer, FoldedPlan
from hw.spatial.frame import Pace, Timing, waiting_slots
from hw.spatial.join import Join
from hw.spatial.layer import DenseLayer, DensePlan
from hw.spatial.pacer import Pacer
from hw.spatial.rows import Rows
from hw.spatial.window import Window, WindowPlan
from nbqnn_train.graph import TensorType

__all__ = ["NetworkPlan", "Part", "Parts", "Word"]


#: Layers with fewer weights are not digit-serial: accumulators and choices would cost too much.
_DIGIT_SERIAL = 48
#: Layers with fewer weights are planned both ways, digit-serial and not; the smaller plan is taken.
_BOTH = 2000
#: Numbers of rows that take turns in one lane.
_TURNS = (2, 4, 8, 16, 32)
#: At best so many weights share one look-up table, where inputs come a bit at a time.
_SHARED = 4


@dataclass(frozen=True)
class Word:
    """Bits of a channel, and the smallest and largest code in it."""

    bits: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Part:
    """A component with a flow out, and what comes out of it.

    layer : the node of the graph that it belongs to.
    sources : numbers of the parts that it reads; none for the input.
    build : makes the component.
    held : whether outputs stay until the next slot.
    pace : the pace whose slots its timing counts.
    tables : look-up tables, estimated before synthesis.
    """

    layer: str
    sources: tuple[int, ...]
    build: Callable[[], Component] | None
    words: tuple[Word, ...]
    grid: Grid
    pace: Pace
    timing: Timing
    held: bool = False
    additions: int = 0
    tables: int = 0

    @property
    def bits(self) -> int:
        """Bits of a slot."""
        return sum(word.bits for word in self.words)


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A network's parts, each behind its sources; the last one gives the output.

    levels : additions between registers.
    """

    parts: tuple[Part, ...]
    levels: int
    source: TensorType
    result: TensorType

    @property
    def pace(self) -> Pace:
        """The source's pace."""
        return self.parts[0].pace

    @property
    def latency(self) -> int:
        """Cycles from an image's first position to its first result, at full rate."""
        timing, pace = self.parts[-1].timing, self.parts[-1].pace
        return int(pace.begins[timing.slots[0]]) + timing.latency

    @property
    def cycles_per_image(self) -> int:
        """Cycles from one image to the next, at full rate."""
        return self.pace.frame.slots * self.pace.interval

    @property
    def tables(self) -> int:
        """Look-up tables of all parts, estimated before synthesis."""
        return sum(part.tables for part in self.parts)

    @property
    def additions(self) -> int:
        """Additions in all sums."""
        return sum(part.additions for part in self.parts)


class Parts:
    """Parts of a circuit in the making. Each method adds some and returns the last one's number."""

    def __init__(self, levels: int, tables: int | None):
        """``tables``: look-up tables that all parts may take together, None for no limit."""
        self.levels = levels
        self.tables = tables
        self.all: list[Part] = []

    def __getitem__(self, number: int) -> Part:
        return self.all[number]

    def add(self, part: Part) -> int:
        """Adds a part as it is."""
        self.all.append(part)
        self._check_room(part.layer, 0)
        return len(self.all) - 1

    def _check_room(self, layer: str, more: int) -> None:
        taken = sum(part.tables for part in self.all) + more
        if self.tables is not None and taken > self.tables:
            raise SpatialError(
                f"layer {layer}: with it the circuit takes about {taken:,} look-up tables, and "
                f"there are {self.tables:,}; remedy: more cycles for each position (--ii), or an "
                "overlay (--preset)"
            )

    def one(
        self,
        layer: str,
        source: int,
        build: Callable[[], Component],
        cycles: int,
        words: tuple[Word, ...],
        **more: object,
    ) -> int:
        """Adds a part that reads one other, slot by slot. ``more`` are its fields that differ."""
        before = self[source]
        part = replace(
            before,
            layer=layer,
            sources=(source,),
            build=build,
            words=words,
            held=False,
            additions=0,
            tables=0,
            timing=Timing(before.timing.slots, before.timing.latency + cycles),
        )
        return self.add(replace(part, **more))

    def name(self, layer: str) -> str:
        """Name of the next part, as Verilog has it."""
        return f"{len(self.all)}_{re.sub(r'[^A-Za-z0-9]', '_', layer)}"

    def window(
        self,
        layer: str,
        source: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        before: tuple[int, int],
        size: tuple[int, int],
        fill: int,
    ) -> int:
        """Adds the window of a kernel with ``size`` output positions; none for a 1 x 1 kernel."""
        part = self[source]
        grid = Grid(*size, 1 if size == (1, 1) else part.grid.row // stride[1])
        if kernel == (1, 1) and grid == part.grid:
            return source
        if part.grid.single and not grid.single:
            raise SpatialError(
                f"layer {layer}: padding must not make one position a map in a circuit"
            )
        word = part.words[0]
        plan = WindowPlan(
            name=self.name(layer),
            words=len(part.words),
            bits=word.bits,
            source=part.grid,
            result=grid,
            kernel=kernel,
            stride=stride,
            before=before,
            fill=fill,
        )
        if min(plan.lag) < 0:
            raise SpatialError(
                f"layer {layer}: padding must be less than the kernel in a circuit, not "
                f"{before[0]} and {before[1]} before a kernel of {kernel[0]}x{kernel[1]}"
            )
        rows = len(part.timing.slots) // part.grid.row // stride[0]
        down, right = np.arange(1 if grid.single else rows), np.arange(grid.row)
        numbers = plan.slots + down[:, np.newaxis] * (stride[0] * part.grid.row) + right * stride[1]
        timing = Timing(
            part.timing.at(part.pace.frame, numbers.reshape(-1)),
            part.timing.latency + Window.latency,
        )
        words = tuple(replace(w, low=min(w.low, fill), high=max(w.high, fill)) for w in part.words)
        return self.one(
            layer,
            source,
            lambda: Window(plan),
            0,
            words * (kernel[0] * kernel[1]),
            grid=grid,
            held=True,
            tables=area.window(plan),
            timing=timing,
        )

    def sums(self, layer: str, source: int, rows: Rows, out: Word) -> int:
        """Adds sums with weights, and rounding; over several cycles where slots leave the time."""
        cycles = self[source].pace.spacing(self[source].timing)
        # The search would take long, and sharing is not known to save more than this.
        shared = _SHARED * max(1, cycles // max(word.bits for word in self[source].words))
        self._check_room(layer, np.count_nonzero(rows.weight) // shared)
        plan = self._cheapest(self.name(layer), source, rows, out.bits, cycles)
        built: dict[type, type[Component]] = {
            DensePlan: DenseLayer,
            DigitSerialPlan: DigitSerialLayer,
            FoldedPlan: FoldedLayer,
        }
        roundings = plan.built_roundings if isinstance(plan, FoldedPlan) else plan.roundings
        return self.one(
            layer,
            source,
            partial(built[type(plan)], plan),
            plan.latency,
            (out,) * len(plan.roundings),
            additions=len(plan.graph.additions),
            tables=plan.tables + area.rounding(roundings, out.bits),
            held=isinstance(plan, DigitSerialPlan),
        )

    def _cheapest(
        self, name: str, source: int, rows: Rows, out_bits: int, cycles: int
    ) -> DensePlan | DigitSerialPlan | FoldedPlan:
        """The smallest circuit for rows whose inputs come ``cycles`` cycles apart."""
        words, held = self[source].words, self[source].held
        in_bits, weights = [word.bits for word in words], np.count_nonzero(rows.weight)
        ranges = [(word.low, word.high) for word in words]
        signed, bits = any(low < 0 for low, _ in ranges), in_bits[0]
        plans: list[DensePlan | DigitSerialPlan | FoldedPlan] = []
        serial = cycles > 1 and len(set(in_bits)) == 1 and weights >= _DIGIT_SERIAL
        if serial and bits > 1:
            for turns in _TURNS:
                if turns * bits <= cycles and turns < 2 * len(rows.weight):
                    plan = rows.folded(name, bits, signed, turns, out_bits, self.levels, held)
                    plans += [] if plan is None else [plan]
        # The search for shared sums takes long, and its result is hardly ever smaller than this.
        if plans and min(plan.tables for plan in plans) < weights:
            return min(plans, key=lambda one: one.tables)
        if serial:
            plans.append(rows.digit_serial(name, bits, signed, cycles, out_bits, self.levels, held))
        if not plans or weights < _BOTH:
            plans.append(rows.plan(name, in_bits, ranges, out_bits, self.levels))
        return min(plans, key=lambda one: one.tables)

    def evened(self, source: int) -> int:
        """Adds a pacer where a part's slots come in bursts."""
        part = self[source]
        found = part.pace.paced(part.timing, part.grid.row, Pacer.latency)
        if found is None:
            return source
        pace, waiting = found
        build = partial(Pacer, part.bits, pace.interval, max(3, waiting + 1))
        slots = np.arange(pace.frame.slots)
        return self.one(
            part.layer,
            source,
            build,
            0,
            part.words,
            pace=pace,
            tables=area.queue(part.bits, waiting + 1),
            timing=Timing(slots, 0),
        )

    def join(self, layer: str, sources: tuple[int, ...]) -> int:
        """Adds a join of flows, or nothing for a single one; earlier flows wait for later ones."""
        if len(sources) == 1:
            return sources[0]
        parts = [self[source] for source in sources]
        grid, timings = parts[0].grid, [part.timing for part in parts]
        slots, pace = len(timings[0].slots), parts[0].pace
        if any(p.grid != grid or len(p.timing.slots) != slots for p in parts):
            raise SpatialError(f"layer {layer}: its operands come at different rates")
        depths = []
        for number, timing in enumerate(timings):
            others = timings[:number] + timings[number + 1 :]
            most = waiting_slots(pace.frame, timing, others, pace.interval, Join.latency + 1)
            depths.append(max(3, most + 1))
        widths = tuple(part.bits for part in parts)
        timing = Timing(
            np.max([one.slots for one in timings], axis=0),
            max(one.latency for one in timings) + Join.latency,
        )
        return self.add(
            Part(
                layer=layer,
                sources=sources,
                build=lambda: Join(widths, tuple(depths)),
                words=tuple(word for part in parts for word in part.words),
                grid=grid,
                pace=pace,
                tables=sum(map(area.queue, widths, depths)),
                timing=timing,
            )
        )
