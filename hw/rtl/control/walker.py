"""Walks over a layer's output positions and gathers them into groups for the array."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.rtl.command_layouts import body_layout
from hw.rtl.component import Component
from hw.rtl.memory.ports import activation_address_bits

__all__ = ["PositionWalker", "group_layout"]


def group_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Up to ``pixels`` output positions that are computed together.

    ``row`` and ``column`` are those of the window's corner in the input, negative in the padding;
    ``origin`` is the word of that corner, ``out`` the word of the output. ``count`` positions are
    in use. ``filter_end`` marks a filter group's last group, ``end`` the command's.
    """
    bits = activation_address_bits(config)
    position = data.StructLayout({"row": 16, "column": 16, "origin": bits, "out": bits})
    return data.StructLayout({
        "positions": data.ArrayLayout(position, config.pixels),
        "count": range(config.pixels + 1),
        "start": 1,
        "filter_end": 1,
        "end": 1,
    })  # fmt: skip


class PositionWalker(Component):
    """Offers the groups of a command, filter group by filter group, positions in row-major order.

    One position per cycle, so a group of P positions every P cycles: no slower than its drain.

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
        bits = activation_address_bits(self.config)

        walking = Signal()
        filters_left, positions_left, columns_left = Signal(16), Signal(16), Signal(16)
        # Whether that is one: known before the position, so that no comparison is on its way.
        last_filter, last_position, last_column = Signal(), Signal(), Signal()
        row, column = Signal(16), Signal(16)
        origin, base, out = Signal(bits), Signal(bits), Signal(bits)

        taken = Signal()
        m.d.comb += taken.eq(self.groups.valid & self.groups.ready)
        with m.If(taken):
            m.d.sync += self.groups.valid.eq(0)

        # The slot that the next position goes to, and whether it is the last one in use.
        slot = Signal(range(max(2, self.config.pixels)))
        last_slot = Signal()
        first_group = Signal()
        with m.If(walking & (~self.groups.valid | taken)):
            complete = Signal()
            m.d.comb += complete.eq(last_position | last_slot)
            m.d.sync += self.groups.valid.eq(complete)
            m.d.data += [
                group.positions[slot].row.eq(row),
                group.positions[slot].column.eq(column),
                group.positions[slot].origin.eq(origin),
                group.positions[slot].out.eq(out),
                group.count.eq(slot + 1),
                group.start.eq(first_group),
                group.filter_end.eq(last_position),
                group.end.eq(last_position & last_filter),
                positions_left.eq(positions_left - 1),
                last_position.eq(positions_left == 2),
            ]
            with m.If(complete):
                m.d.data += [slot.eq(0), last_slot.eq(command.pixels == 1), first_group.eq(0)]
            with m.Else():
                m.d.data += [slot.eq(slot + 1), last_slot.eq(slot + 2 == command.pixels)]
            with m.If(last_column):
                m.d.data += [
                    columns_left.eq(command.out_width),
                    last_column.eq(command.out_width == 1),
                    column.eq(command.column),
                    row.eq(row + command.row_step),
                    origin.eq(origin + command.origin_wrap),
                    out.eq(out + command.out_wrap),
                ]
            with m.Else():
                m.d.data += [
                    columns_left.eq(columns_left - 1),
                    last_column.eq(columns_left == 2),
                    column.eq(column + command.column_step),
                    origin.eq(origin + command.column_step),
                    out.eq(out + 1),
                ]
            with m.If(last_position):
                m.d.sync += walking.eq(~last_filter)
                m.d.data += [
                    filters_left.eq(filters_left - 1),
                    last_filter.eq(filters_left == 2),
                    positions_left.eq(command.positions),
                    last_position.eq(command.positions == 1),
                    columns_left.eq(command.out_width),
                    last_column.eq(command.out_width == 1),
                    row.eq(command.row),
                    column.eq(command.column),
                    origin.eq(base + command.group_origin),
                    base.eq(base + command.group_origin),
                    out.eq(command.out_base),
                ]

        with m.If(self.start):
            m.d.sync += walking.eq(1)
            m.d.data += [
                slot.eq(0),
                last_slot.eq(command.pixels == 1),
                first_group.eq(1),
                filters_left.eq(command.filter_groups),
                last_filter.eq(command.filter_groups == 1),
                positions_left.eq(command.positions),
                last_position.eq(command.positions == 1),
                columns_left.eq(command.out_width),
                last_column.eq(command.out_width == 1),
                row.eq(command.row),
                column.eq(command.column),
                origin.eq(command.in_base),
                base.eq(command.in_base),
                out.eq(command.out_base),
            ]
        return m
