"""Walks over a layer's output positions, one group per cycle."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.contract.structure import activation_address_bits
from hw.rtl.cells.advance import Advance
from hw.rtl.cells.counting import incremented
from hw.rtl.command_layouts import body_layout
from hw.rtl.component import Component
from hw.rtl.control.walker import group_layout

__all__ = ["GroupWalker"]

#: A number of columns or positions; negative numbers say how many are missing.
_difference = signed(17)


class GroupWalker(Component):
    """Offers the groups of a command, one per cycle after the first group.

    The groups and their order are those of :class:`hw.rtl.control.walker.PositionWalker`. That one
    is smaller and takes ``pixels`` cycles for a group. This one is for drains of several positions
    per cycle, which it does not slow down.

    The first group is gathered position by position and kept. The position behind it tells how far
    a group is from the next one: every position moves by the same number of rows and columns, and
    by one more row where that leads past a row's end. The second group is offered two cycles after
    the first one. Each filter group begins with the first group again.

    Members
    -------
    start : ``In(1)``, begins the walk of ``command``, which must then stay as it is until the last
        group is taken
    command : ``In(body_layout(Opcode.COMPUTE))``
    groups : ``Out(stream.Signature(group_layout(config)))``
    """

    config_fields = ("pixels", "act_depth")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1),
            "command": In(body_layout(Opcode.COMPUTE)),
            "groups": Out(stream.Signature(group_layout(config))),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        state = _State(self.config)
        complete = Signal()
        advance = Signal()
        self._gather(m, state, complete)
        self._measure(m, state, complete)
        self._offer(m, state, complete, advance)
        for slot in range(self.config.pixels):
            self._move(m, state, slot, advance)
        with m.If(self.start):
            self._begin(m, state)
        with m.Elif(complete):
            m.d.sync += state.gathering.eq(0)
        return m

    def _gather(self, m: Module, s: "_State", complete: Signal) -> None:
        """Gathers the first group, position by position.

        The next position is in the next row if ``at_left`` is negative.
        """
        command, at = self.command, s.at
        wraps = s.at_left[-1]
        origin = _advanced(
            m, "at_origin", at.origin, wraps, command.column_step, command.origin_wrap
        )
        out = _advanced(m, "at_out", at.out, wraps, command.out_step, command.out_wrap)
        m.d.comb += [complete.eq(s.gathering & s.last_slot), s.last_left.eq(command.out_width - 2)]
        with m.If(s.gathering):
            m.d.data += [
                s.slot.eq(incremented(s.slot)),
                s.last_slot.eq(s.slot + 2 == command.pixels),
                self.groups.p.positions[s.slot].eq(at),
                s.first[s.slot].eq(at),
                Array(s.left)[s.slot].eq(s.at_left),
                at.origin.eq(origin),
                at.out.eq(out),
            ]
            with m.If(wraps):
                m.d.data += [
                    at.row.eq(at.row + command.row_step),
                    at.column.eq(command.column),
                    s.at_left.eq(s.last_left),
                    s.x.eq(0),
                ]
            with m.Else():
                m.d.data += [
                    at.column.eq(at.column + command.column_step),
                    s.at_left.eq(s.at_left - 1),
                    s.x.eq(s.x + 1),
                ]

    def _measure(self, m: Module, s: "_State", complete: Signal) -> None:
        """Computes how far each position moves from a group to the next.

        ``step`` is the move within a row: the position behind the first group less the first one.
        ``past`` is the move past a row's end. It is counted from the position before the row, which
        takes two cycles.
        """
        command, at = self.command, s.at
        bits = activation_address_bits(self.config)
        origin_past = Signal(bits)
        out_past = Signal(bits)
        row_before = Signal(16)
        origin_before = Signal(bits)
        out_before = Signal(bits)
        m.d.sync += s.measuring.eq(complete)
        m.d.data += [
            origin_past.eq(command.origin_wrap - command.column_step),
            out_past.eq(command.out_wrap - command.out_step),
            row_before.eq(command.row - command.row_step),
            origin_before.eq(command.in_base - origin_past),
            out_before.eq(command.out_base - out_past),
        ]
        less = Signal(signed(len(s.x) + 1))
        # Tables compute it, because an addition follows.
        m.d.comb += less.eq(Array(1 - number for number in range(1 << len(s.x)))[s.x])
        with m.If(s.measuring):
            m.d.sync += s.walking.eq(1)
            m.d.data += [
                s.step.row.eq(at.row - command.row),
                s.past.row.eq(at.row - row_before),
                s.step.column.eq(at.column - command.column),
                s.step.origin.eq(at.origin - command.in_base),
                s.past.origin.eq(at.origin - origin_before),
                s.step.out.eq(at.out - command.out_base),
                s.past.out.eq(at.out - out_before),
                s.left_step.eq(-s.x),
                s.left_past.eq(command.out_width - s.x),
            ]
            # So far they hold what is left after a move by one position.
            for left, kept in zip(s.left, s.first_left, strict=True):
                reached = left + less
                m.d.data += [left.eq(reached), kept.eq(reached)]

    def _offer(self, m: Module, s: "_State", complete: Signal, advance: Signal) -> None:
        """Offers the first group once it is complete, then the next when a group is taken."""
        command, group = self.command, self.groups.p
        taken = Signal()
        m.d.comb += [
            taken.eq(self.groups.valid & self.groups.ready),
            advance.eq(s.walking & ~group.end & (self.groups.ready | ~self.groups.valid)),
        ]
        with m.If(taken):
            m.d.sync += self.groups.valid.eq(0)
            with m.If(group.end):
                m.d.sync += s.walking.eq(0)
        last = s.beyond[-1]
        with m.If(complete | advance):
            m.d.sync += self.groups.valid.eq(1)
            m.d.data += [
                group.start.eq(complete),
                group.count.eq(Mux(last, s.positions_left, command.pixels)),
                group.filter_end.eq(last),
                group.end.eq(last & (s.filters_left == 1)),
                s.positions_left.eq(s.positions_left - command.pixels),
                s.beyond.eq(s.beyond - command.pixels),
            ]
            with m.If(last):
                m.d.data += [
                    s.filters_left.eq(s.filters_left - 1),
                    s.positions_left.eq(command.positions),
                    s.beyond.eq(s.all_beyond),
                ]

    def _move(self, m: Module, s: "_State", slot: int, advance: Signal) -> None:
        """Moves one position of the group to where it is in the next group."""
        moved, first, left = self.groups.p.positions[slot], s.first[slot], s.left[slot]
        wraps = left[-1]
        following = [
            (value, _advanced(m, f"{name}_{slot}", value, wraps, within, beyond_end))
            for name, value, within, beyond_end in (
                ("row", moved.row, s.step.row, s.past.row),
                ("origin", moved.origin, s.step.origin, s.past.origin),
                ("out", moved.out, s.step.out, s.past.out),
                ("left", left, s.left_step, s.left_past),
            )
        ]
        # Past a row's end the column's number in the next row is minus one less what was left.
        columns = Array(s.first[number].column for number in range(self.config.pixels))
        x_past = ~left[: (self.config.pixels - 1).bit_length()]
        with m.If(advance):
            column = Mux(wraps, columns[x_past], moved.column + s.step.column)
            m.d.data += [moved.column.eq(column), *(value.eq(next_) for value, next_ in following)]
            with m.If(self.groups.p.filter_end):
                origin = first.origin + self.command.group_origin
                m.d.data += [
                    moved.eq(first),
                    moved.origin.eq(origin),
                    first.origin.eq(origin),
                    left.eq(s.first_left[slot]),
                ]

    def _begin(self, m: Module, s: "_State") -> None:
        command = self.command
        beyond = command.positions - command.pixels - 1
        m.d.sync += s.gathering.eq(1)
        m.d.data += [
            s.slot.eq(0),
            s.last_slot.eq(command.pixels == 1),
            s.x.eq(0),
            s.at.row.eq(command.row),
            s.at.column.eq(command.column),
            s.at.origin.eq(command.in_base),
            s.at.out.eq(command.out_base),
            s.at_left.eq(s.last_left),
            s.filters_left.eq(command.filter_groups),
            s.positions_left.eq(command.positions),
            s.beyond.eq(beyond),
            s.all_beyond.eq(beyond),
        ]


class _State:
    """The walker's registers."""

    def __init__(self, config: AcceleratorConfig):
        position = group_layout(config)["positions"].shape.elem_shape
        slots = range(config.pixels)
        #: The walker gathers the first group; it measures the move; it offers further groups.
        self.gathering = Signal()
        self.measuring = Signal()
        self.walking = Signal()
        #: Positions of the current filter group's first group.
        self.first = Signal(data.ArrayLayout(position, config.pixels))
        #: Columns that are left in the row after a position has moved to the next group. Negative
        #: where the move leads past the row's end.
        self.left = [Signal(_difference, name=f"left_{slot}") for slot in slots]
        self.first_left = [Signal(_difference, name=f"first_left_{slot}") for slot in slots]
        #: Columns that are left after a move by one from a row's first position. No register.
        self.last_left = Signal(_difference)
        #: The position that is gathered next; columns left after a move by one from there.
        self.at = Signal(position)
        self.at_left = Signal(_difference)
        #: Columns from the row's beginning to ``at``.
        self.x = Signal(range(config.pixels + 1))
        #: The slot of the group that ``at`` goes to, and whether it is the last one in use.
        self.slot = Signal(range(max(2, config.pixels)))
        self.last_slot = Signal()
        #: How far every position moves to the next group: within a row, and past its end. Columns
        #: past the end count from the row's beginning.
        self.step = Signal(position)
        self.past = Signal(position)
        self.left_step = Signal(_difference)
        self.left_past = Signal(_difference)
        #: Positions of the filter group that are not offered yet. ``beyond`` is the number of those
        #: behind the next group, less one, and ``all_beyond`` what it is for the first group.
        self.positions_left = Signal(16)
        self.beyond = Signal(_difference)
        self.all_beyond = Signal(_difference)
        self.filters_left = Signal(16)


def _advanced(
    m: Module, name: str, value: Value, wraps: Value, within: ValueLike, past: ValueLike
) -> Value:
    """``value + past`` where the position ``wraps`` to the next row, else ``value + within``."""
    cell = Advance(width=len(value))
    m.submodules[f"advance_{name}"] = cell
    m.d.comb += [
        cell.value.eq(value),
        cell.increments[0].eq(within),
        cell.increments[1].eq(past),
        cell.second.eq(wraps),
    ]
    return cell.total
