"""A layer whose rows take turns: each lane computes one row after the other, bit by bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.adders import AdderGraph, interval_bits
from hw.spatial.digit_serial import chosen_digits
from hw.spatial.flow import flow, flow_flags
from hw.spatial.rounding import Rounding, rounded, rounded_constant
from hw.spatial.sharing import plain_sums
from hw.spatial.stages import AdderStages

__all__ = ["FoldedLayer", "FoldedPlan"]

#: Inputs of a look-up table.
_INPUTS = 6


@dataclass(frozen=True, eq=False)
class FoldedPlan:
    """A layer's circuit with fewer lanes than rows.

    A lane has one row in each turn. Inputs come a bit at a time, the lowest first, in every turn
    anew. A look-up table of six inputs sees the turn's number and the bits of some inputs. Several
    of them give the sum of those inputs' weights in this turn. A negative weight counts its bit
    inverted, which is too much by its magnitude; so nothing in a table is ever negative. Signed
    words are read as unsigned ones, larger by half their range.

    name : the layer's name: letters, digits and underscores.
    weight : (rows, inputs), integers.
    constants, roundings : one for each row.
    bits, signed : bits (2 or more) and signedness of each input.
    turns : 2, 4, 8, 16 or 32.
    out_bits : bits of each output's word.
    levels : additions between registers, at least 1.
    held : whether the inputs stay until the next slot.
    """

    name: str
    weight: np.ndarray
    constants: tuple[int, ...]
    roundings: tuple[Rounding, ...]
    bits: int
    signed: bool
    turns: int
    out_bits: int
    levels: int
    held: bool

    @cached_property
    def lanes(self) -> tuple[tuple[int, ...], ...]:
        """The rows of each lane, turn by turn. Rows that round alike are in one lane, if so many
        there are. The last lane may have fewer rows than there are turns."""
        order = sorted(range(len(self.weight)), key=lambda row: (*self._rounding(row), row))
        return tuple(tuple(order[at : at + self.turns]) for at in range(0, len(order), self.turns))

    def _rounding(self, row: int) -> tuple[int, int, int]:
        one = self.roundings[row]
        return one.shift, one.low, one.high

    @property
    def group(self) -> int:
        """Inputs whose bits one table sees."""
        return _INPUTS - (self.turns - 1).bit_length()

    @cached_property
    def groups(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each lane the groups of inputs that any of its rows has a weight for."""
        found = []
        for rows in self.lanes:
            used = np.flatnonzero(np.any(self.weight[list(rows)], axis=0)).tolist()
            found.append(
                tuple(tuple(used[at : at + self.group]) for at in range(0, len(used), self.group))
            )
        return tuple(found)

    def sums(self, lane: int, inputs: Sequence[int]) -> np.ndarray:
        """(turns, 2 ** len(inputs)): what tables give for each turn and for the bits as a number,
        that of the first input lowest."""
        bits = (np.arange(1 << len(inputs))[:, np.newaxis] >> np.arange(len(inputs))) & 1
        sums = np.zeros((self.turns, 1 << len(inputs)), np.int64)
        for turn, row in enumerate(self.lanes[lane]):
            weight = self.weight[row, list(inputs)]
            sums[turn] = (bits ^ (weight < 0)) @ np.abs(weight)
        return sums

    @cached_property
    def graph(self) -> AdderGraph:
        """The sums of all groups of each lane."""
        most = [
            [int(self.sums(lane, inputs).max()) for inputs in groups]
            for lane, groups in enumerate(self.groups)
        ]
        return plain_sums(most)

    @property
    def stages(self) -> int:
        """Registers from the tables' sums to those of the lanes."""
        outputs = [out for out in self.graph.outputs if out is not None]
        return -(-max((self.graph.depths[out.value] for out in outputs), default=0) // self.levels)

    @property
    def cycles(self) -> int:
        """Fewest cycles from one slot to the next."""
        return self.turns * self.bits

    @property
    def latency(self) -> int:
        """Cycles from a slot to its outputs: inputs, bits, tables, sums, totals, rounding."""
        return (0 if self.held else 1) + self.cycles + self.stages + 3

    def start(self, row: int) -> int:
        """The first value of a row's accumulator."""
        weight = self.weight[row]
        half = int(weight.sum()) << self.bits - 1 if self.signed else 0
        return self.constants[row] - half + int(weight[weight < 0].sum()) * ((1 << self.bits) - 1)

    def ends(self, row: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(smallest, largest) value of a row's accumulator: in any cycle, and after the last."""
        high = int(np.abs(self.weight[row]).sum())
        least = most = self.start(row) << 1
        ends = []
        for _ in range(self.bits):
            least, most = least >> 1, (most >> 1) + high
            ends.append((least, most))
        return (min(e[0] for e in ends), max(e[1] for e in ends)), ends[-1]

    @property
    def built_roundings(self) -> list[Rounding]:
        """The roundings that there is logic for: different ones of each lane."""
        return [
            one for rows in self.lanes for one in dict.fromkeys(self.roundings[r] for r in rows)
        ]

    @property
    def tables(self) -> int:
        """Look-up tables of the sums, accumulation and the choice of bits, estimated."""
        choice = self.weight.shape[1] * max(1, self.bits // 4)
        places = sum(interval_bits(*ends) for ends in self.graph.ranges[: self.graph.inputs])
        # Each bit of an accumulator has a table in its addition and one for its first value.
        totals = sum(
            2 * interval_bits(*_union([self.ends(row)[0] for row in rows])) for rows in self.lanes
        )
        return choice + places + self.graph.tables + totals


def _union(ends: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(low for low, _ in ends), max(high for _, high in ends)


class FoldedLayer(Component):
    """Computes as :class:`hw.spatial.layer.DenseLayer` does, in ``plan.cycles`` cycles.

    Slots must be at least ``plan.cycles`` cycles apart. Latency ``plan.latency`` cycles. Outputs
    come from registers. Those of the first turns change before the next slot's outputs are valid.

    Members
    -------
    i, o : a :func:`flow` each, of the words of all inputs and of all outputs
    """

    def __init__(self, plan: FoldedPlan):
        self.plan = plan
        super().__init__({
            "i": In(flow(plan.weight.shape[1] * plan.bits)),
            "o": Out(flow(len(plan.weight) * plan.out_bits)),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return f"nbqnn_folded_{self.plan.name}"

    def build(self) -> Module:
        m = Module()
        plan = self.plan
        valid, first = flow_flags(m, self.i, plan.latency)
        data, begins = self.i.payload.data, self.i.valid
        if not plan.held:
            kept = Signal(len(data), reset_less=True)
            with m.If(self.i.valid):
                m.d.sync += kept.eq(data)
            data, begins = kept, valid[0]
        place, turn = self._count(m, begins)
        found = chosen_digits(m, data, place, plan.weight.shape[1], plan.bits, plan.signed, 1)
        # In the cycle of tables, of accumulation, and of rounding.
        turns = self._delayed(m, "turn", turn, 3 + plan.stages)
        starts = self._delayed(m, "start", place == 0, 3 + plan.stages)
        ends = self._delayed(m, "end", place == plan.bits - 1, 3 + plan.stages)
        stages = AdderStages(m, plan.graph, self._tables(m, found, turns[1]), plan.levels)
        codes: list[Value] = [Const(0, plan.out_bits)] * len(plan.weight)
        for lane, rows in enumerate(plan.lanes):
            begin = starts[2 + plan.stages]
            whole = self._total(m, stages, lane, begin, turns[2 + plan.stages])
            for row, code in self._codes(m, lane, whole).items():
                register = Signal(plan.out_bits, name=f"o{row}", reset_less=True)
                with m.If(ends[-1] & (turns[-1] == rows.index(row))):
                    m.d.sync += register.eq(code)
                codes[row] = register
        m.d.comb += [
            self.o.payload.data.eq(Cat(*codes)),
            self.o.payload.first.eq(first[-1]),
            self.o.valid.eq(valid[-1]),
        ]
        return m

    def _count(self, m: Module, begins: Value) -> tuple[Signal, Signal]:
        """Number of the bit and of the turn; both stay 0 until a slot begins."""
        plan = self.plan
        place, turn = Signal(range(plan.bits)), Signal(range(plan.turns))
        with m.If(begins | (place != 0) | (turn != 0)):
            m.d.sync += place.eq(place + 1)
            with m.If(place == plan.bits - 1):
                m.d.sync += [place.eq(0), turn.eq(turn + 1)]
        return place, turn

    def _delayed(self, m: Module, name: str, value: Value, cycles: int) -> list[Value]:
        """The value, and what it was so many cycles ago, up to ``cycles``."""
        found = [value]
        for cycle in range(cycles):
            register = Signal(len(value), name=f"{name}_{cycle}", reset_less=True)
            m.d.sync += register.eq(found[-1])
            found.append(register)
        return found

    def _tables(self, m: Module, found: Sequence[Value], turn: Value) -> list[Value]:
        """Sums of weights of each lane's groups, in registers."""
        words = []
        for lane, groups in enumerate(self.plan.groups):
            for number, inputs in enumerate(groups):
                sums = self.plan.sums(lane, inputs).reshape(-1)
                width = interval_bits(0, int(sums.max()))
                word = Signal(width, name=f"sum_{lane}_{number}", reset_less=True)
                index = Cat(*(found[one] for one in inputs), turn)
                bits = []
                for bit in range(width):
                    content = sum(int(value >> bit & 1) << at for at, value in enumerate(sums))
                    bits.append(Const(content, len(sums)).bit_select(index, 1))
                m.d.sync += word.eq(Cat(bits))
                words.append(word)
        return words

    def _total(
        self, m: Module, stages: AdderStages, lane: int, begin: Value, turn: Value
    ) -> tuple[Value, tuple[int, int]]:
        """A lane's sum after its last bit, and its smallest and largest value."""
        plan, rows = self.plan, self.plan.lanes[lane]
        ends = [plan.ends(row) for row in rows]
        low, high = _union([one for one, _ in ends])
        width = interval_bits(min(low, -1), high)
        total = Signal(width, name=f"total_{lane}", reset_less=True)
        out = plan.graph.outputs[lane]
        sums = Const(0, 1) if out is None else stages.at(out.value, plan.stages)
        starts = [Const(plan.start(row), width) for row in rows]
        start = Array([*starts, *starts[:1] * (plan.turns - len(starts))])[turn]
        m.d.sync += total.eq(Mux(begin, start, total.as_signed() >> 1) + sums)
        # The bits below the last one; those that left the accumulator first are the lowest.
        below = Signal(plan.bits - 1, name=f"below_{lane}", reset_less=True)
        m.d.sync += below.eq(Cat(below, total[0])[1:])
        low, high = _union([end for _, end in ends])
        places = len(below)
        limits = (low << places, (high << places) + (1 << places) - 1)
        return Cat(below, total)[: interval_bits(*limits)], limits

    def _codes(
        self, m: Module, lane: int, whole: tuple[Value, tuple[int, int]]
    ) -> dict[int, Value]:
        """Row -> its code, in the cycle in which the row's sum is complete."""
        plan, codes = self.plan, {}
        made: dict[Rounding, Value] = {}
        for row in plan.lanes[lane]:
            rounding = plan.roundings[row]
            if not plan.weight[row].any():
                codes[row] = Const(rounded_constant(rounding, plan.constants[row]), plan.out_bits)
                continue
            if rounding not in made:
                name = f"{lane}_{len(made)}"
                made[rounding] = rounded(m, name, rounding, *whole, plan.out_bits)
            codes[row] = made[rounding]
        return codes
