"""Walks over a layer's output positions a group at a time, for drains that are faster than one."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.rtl.cells.advance import Advance
from hw.rtl.cells.counting import incremented
from hw.rtl.command_layouts import body_layout
from hw.rtl.component import Component
from hw.rtl.control.walker import group_layout
from hw.rtl.memory.activations import activation_address_bits

__all__ = ["GroupWalker"]

#: A number of columns or positions, or of those that are missing.
_difference = signed(17)


class GroupWalker(Component):
    """As :class:`hw.rtl.control.walker.PositionWalker`, but a group per cycle after the first one.

    The first group is gathered position by position and kept. The position after it says by how
    much each following group differs from the one before: every position moves by as many rows and
    columns, and by one more row if that leads past a row's end. The second group is ready two
    cycles after the first has been offered. Each filter group begins with the first group again.

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
        command, group = self.command, self.groups.p
        c = self.config
        pixels = c.pixels
        slots = range(pixels)
        position = group_layout(c)["positions"].shape.elem_shape
        bits = activation_address_bits(c)

        def stepped(name: str, value: Value, wraps: Value, within: ValueLike, past: ValueLike):
            """The value and what it moves by within a row, or past its end."""
            width = len(value)
            increments = Signal(2 * width, name=f"{name}_increments")
            cell = Advance(width=width)
            m.submodules[f"advance_{name}"] = cell
            m.d.comb += [
                increments[:width].eq(within),
                increments[width:].eq(past),
                cell.value.eq(value),
                cell.increments.eq(increments),
                cell.second.eq(wraps),
            ]
            return cell.total

        #: The first group's positions in the filter group that is walked over.
        first = Signal(data.ArrayLayout(position, pixels))
        #: Columns that are left after a position, less what a group's step moves it by: below zero
        #: where the step goes past the row's end.
        left = [Signal(_difference, name=f"left_{number}") for number in slots]
        first_left = [Signal(_difference, name=f"first_left_{number}") for number in slots]
        last_left = Signal(_difference)
        m.d.comb += last_left.eq(command.out_width - 2)

        # Gathering the first group. A step of one position goes past the row's end if there is no
        # column left after the next one.
        at = Signal(position)
        at_left = Signal(_difference)
        #: Columns from the row's beginning; of the position after the first group: of a step.
        x = Signal(range(pixels + 1))
        slot = Signal(range(max(2, pixels)))
        gathering, measuring, walking = Signal(), Signal(), Signal()
        # Whether that is the group's last slot: known a position before.
        last_slot, complete = Signal(), Signal()
        at_wraps = at_left[-1]
        at_origin = stepped(
            "at_origin", at.origin, at_wraps, command.column_step, command.origin_wrap
        )
        at_out = stepped("at_out", at.out, at_wraps, 1, command.out_wrap)
        m.d.comb += complete.eq(gathering & last_slot)
        with m.If(gathering):
            m.d.sync += [
                slot.eq(incremented(slot)),
                last_slot.eq(slot + 2 == command.pixels),
                group.positions[slot].eq(at),
                first[slot].eq(at),
                Array(left)[slot].eq(at_left),
                at.origin.eq(at_origin),
                at.out.eq(at_out),
            ]
            with m.If(at_wraps):
                m.d.sync += [
                    at.row.eq(at.row + command.row_step),
                    at.column.eq(command.column),
                    at_left.eq(last_left),
                    x.eq(0),
                ]
            with m.Else():
                m.d.sync += [
                    at.column.eq(at.column + command.column_step),
                    at_left.eq(at_left - 1),
                    x.eq(x + 1),
                ]

        # What a group's step moves every position by, within a row and past its end; columns past
        # the end are counted from the row's beginning.
        step, past = Signal(position), Signal(position)
        left_step, left_past = Signal(_difference), Signal(_difference)
        # What a step past the row's end is counted from, in two cycles.
        origin_past, out_past = Signal(bits), Signal(bits)
        row_before, origin_before, out_before = Signal(16), Signal(bits), Signal(bits)
        m.d.sync += [
            measuring.eq(complete),
            origin_past.eq(command.origin_wrap - command.column_step),
            out_past.eq(command.out_wrap - 1),
            row_before.eq(command.row - command.row_step),
            origin_before.eq(command.in_base - origin_past),
            out_before.eq(command.out_base - out_past),
        ]
        with m.If(measuring):
            m.d.sync += [
                walking.eq(1),
                step.row.eq(at.row - command.row),
                past.row.eq(at.row - row_before),
                step.column.eq(at.column - command.column),
                step.origin.eq(at.origin - command.in_base),
                past.origin.eq(at.origin - origin_before),
                step.out.eq(at.out - command.out_base),
                past.out.eq(at.out - out_before),
                left_step.eq(-x),
                left_past.eq(command.out_width - x),
            ]
            # Until now they are what is left after a step of one position.
            less = Signal(signed(len(x) + 1))
            # In tables: another addition follows.
            m.d.comb += less.eq(Array(1 - number for number in range(1 << len(x)))[x])
            for old, kept in zip(left, first_left, strict=True):
                reached = old + less
                m.d.sync += [old.eq(reached), kept.eq(reached)]

        taken, advance, offer = Signal(), Signal(), Signal()
        m.d.comb += [
            taken.eq(self.groups.valid & self.groups.ready),
            advance.eq(walking & ~group.end & (self.groups.ready | ~self.groups.valid)),
            offer.eq(complete | advance),
        ]
        with m.If(taken):
            m.d.sync += self.groups.valid.eq(0)
            with m.If(group.end):
                m.d.sync += walking.eq(0)

        # Positions from the next group on, and how many there are beyond it, less one.
        positions_left, beyond, all_beyond = Signal(16), Signal(_difference), Signal(_difference)
        filters_left = Signal(16)
        last = beyond[-1]
        with m.If(offer):
            m.d.sync += [
                self.groups.valid.eq(1),
                group.start.eq(complete),
                group.count.eq(Mux(last, positions_left, command.pixels)),
                group.filter_end.eq(last),
                group.end.eq(last & (filters_left == 1)),
                positions_left.eq(positions_left - command.pixels),
                beyond.eq(beyond - command.pixels),
            ]
            with m.If(last):
                m.d.sync += [
                    filters_left.eq(filters_left - 1),
                    positions_left.eq(command.positions),
                    beyond.eq(all_beyond),
                ]

        columns = Array(first[number].column for number in slots)
        for number in slots:
            moved, remaining = group.positions[number], left[number]
            wraps = remaining[-1]
            following = [
                (value, stepped(f"{name}_{number}", value, wraps, within, beyond_end))
                for name, value, within, beyond_end in (
                    ("row", moved.row, step.row, past.row),
                    ("origin", moved.origin, step.origin, past.origin),
                    ("out", moved.out, step.out, past.out),
                    ("left", remaining, left_step, left_past),
                )
            ]
            # The column after a row's end is minus one less what was left.
            x_past = ~remaining[: (pixels - 1).bit_length()]
            with m.If(advance):
                m.d.sync += moved.column.eq(Mux(wraps, columns[x_past], moved.column + step.column))
                m.d.sync += [value.eq(total) for value, total in following]
                with m.If(group.filter_end):
                    origin = first[number].origin + command.group_origin
                    m.d.sync += [
                        moved.eq(first[number]),
                        moved.origin.eq(origin),
                        first[number].origin.eq(origin),
                        remaining.eq(first_left[number]),
                    ]

        with m.If(self.start):
            following = command.positions - command.pixels - 1
            m.d.sync += [
                gathering.eq(1),
                slot.eq(0),
                last_slot.eq(command.pixels == 1),
                x.eq(0),
                at.row.eq(command.row),
                at.column.eq(command.column),
                at.origin.eq(command.in_base),
                at.out.eq(command.out_base),
                at_left.eq(last_left),
                filters_left.eq(command.filter_groups),
                positions_left.eq(command.positions),
                beyond.eq(following),
                all_beyond.eq(following),
            ]
        with m.Elif(complete):
            m.d.sync += gathering.eq(0)
        return m
