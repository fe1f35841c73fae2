"""Turns groups of positions into steps of the array: addresses, padding and flags."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import DRAIN_FIELDS, Opcode, Unit
from hw.rtl.command_layouts import body_layout, drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.walker import group_layout
from hw.rtl.memory.activations import activation_address_bits

__all__ = ["StepSequencer", "drain_layout"]


def drain_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Where the results of one group go: ``out`` words of ``count`` positions."""
    return data.StructLayout({
        "out": data.ArrayLayout(activation_address_bits(config), config.pixels),
        "count": range(config.pixels + 1),
        "filter_end": 1,
        "end": 1,
    })  # fmt: skip


class StepSequencer(Component):
    """One step per cycle: all taps of a group, channel groups outermost, then the next group.

    A group's last step waits until the group before it has had ``drain_cycles`` to drain, so that
    nothing behind the array ever needs to stop it. The next command's groups follow without a gap,
    unless it runs on another unit: results of units with different latencies would overtake each
    other, so that one waits until nothing is ``pending``, and a cycle more. Outputs are registered
    and one cycle behind the step that they belong to.

    Members
    -------
    command : ``In(body_layout(Opcode.COMPUTE))``, of the groups that are offered; two cycles before
        the first of them at the latest
    groups : ``In(stream.Signature(group_layout(config)))``
    drain_commands : ``Out(stream.Signature(drain_command_layout()))``, one for each command, in the
        cycle in which its first group is taken; ``ready`` must stay high until then
    drains : ``Out(stream.Signature(drain_layout(config)))``, one for each group, at its last step
    pending : ``In(1)``, groups that were handed to ``drains`` are not yet written
    valid, first, last : ``Out(1)``
    held : ``Out(1)``, positions for a step were at hand
    grow : ``Out(1)``, the first tap of a channel group other than the first
    unit, pad : ``Out``, of the step's command
    read_valid : ``Out(pixels)``, read_address : ``Out(pixels * address bits)``
    read_padded : ``Out(pixels)``, a cycle later
    weight_address : ``Out(16)``
    """

    config_fields = ("pixels", "act_bits", "act_depth")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        bits = activation_address_bits(config)
        super().__init__({
            "command": In(body_layout(Opcode.COMPUTE)),
            "groups": In(stream.Signature(group_layout(config))),
            "drain_commands": Out(stream.Signature(drain_command_layout())),
            "pending": In(1),
            "unit": Out(Unit),
            "pad": Out(config.act_bits),
            "drains": Out(stream.Signature(drain_layout(config))),
            "valid": Out(1),
            "held": Out(1),
            "first": Out(1),
            "last": Out(1),
            "grow": Out(1),
            "read_valid": Out(config.pixels),
            "read_padded": Out(config.pixels),
            "read_address": Out(config.pixels * bits),
            "weight_address": Out(16),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        bits = activation_address_bits(c)

        group = Signal(group_layout(c))
        command = Signal(body_layout(Opcode.COMPUTE))
        active = Signal()
        # Offsets of the tap from the window's corner.
        tap_origin = Signal(bits)
        tap_row, tap_column = Signal(16), Signal(16)
        # Taps that are left, this one included, and whether it is the last one of its kind, and of
        # all: known from the step before, so that no comparison is on a step's way.
        columns, rows, channel_groups = Signal(8), Signal(8), Signal(16)
        end_column, end_row, end_channel_group = Signal(), Signal(), Signal()
        end_taps = Signal()
        first_tap, first_channel_group = Signal(), Signal()
        weight_base, weight = Signal(16), Signal(16)
        until_drained, drained = Signal(16), Signal(init=1)
        # Whether the offered command has one tap of each kind, and the command at hand has.
        offers_one_column, offers_one_row, offers_one_channel_group = Signal(), Signal(), Signal()
        one_column, one_row = Signal(), Signal()
        m.d.sync += [
            offers_one_column.eq(self.command.kernel_w == 1),
            offers_one_row.eq(self.command.kernel_h == 1),
            offers_one_channel_group.eq(self.command.channel_groups == 1),
        ]

        first = Signal()
        step = Signal()
        next_end_column, next_end_row, next_end_channel_group = Signal(), Signal(), Signal()
        m.d.comb += [
            step.eq(active & (~end_taps | (drained & self.drains.ready))),
            next_end_column.eq(Mux(end_column, one_column, columns == 2)),
            next_end_row.eq(Mux(end_column, Mux(end_row, one_row, rows == 2), end_row)),
            next_end_channel_group.eq(
                Mux(end_column & end_row, channel_groups == 2, end_channel_group)
            ),
        ]
        with m.If(~drained):
            m.d.sync += [until_drained.eq(until_drained - 1), drained.eq(until_drained == 2)]

        with m.If(step):
            m.d.sync += [
                weight.eq(weight + 1),
                first.eq(0),
                first_tap.eq(0),
                end_column.eq(next_end_column),
                end_row.eq(next_end_row),
                end_channel_group.eq(next_end_channel_group),
                end_taps.eq(next_end_column & next_end_row & next_end_channel_group),
            ]
            with m.If(~end_column):
                m.d.sync += [
                    columns.eq(columns - 1),
                    tap_column.eq(tap_column + command.tap_column),
                    tap_origin.eq(tap_origin + command.tap_column),
                ]
            with m.Else():
                m.d.sync += [
                    columns.eq(command.kernel_w),
                    tap_column.eq(0),
                ]
                with m.If(~end_row):
                    m.d.sync += [
                        rows.eq(rows - 1),
                        tap_row.eq(tap_row + command.tap_row),
                        tap_origin.eq(tap_origin + command.tap_row_origin),
                    ]
                with m.Else():
                    m.d.sync += [
                        rows.eq(command.kernel_h),
                        tap_row.eq(0),
                        channel_groups.eq(channel_groups - 1),
                        first_tap.eq(1),
                        first_channel_group.eq(0),
                        tap_origin.eq(tap_origin + command.tap_group_origin),
                    ]

        group_done = Signal()
        next_weights = Signal()
        # What keeps an offered command from its first group: results of another unit, or no room
        # for what the drain is to know of it. Known before that group is offered.
        other_unit, blocked = Signal(), Signal()
        m.d.sync += [
            other_unit.eq(self.command.unit != command.unit),
            blocked.eq((other_unit & (active | self.pending)) | ~self.drain_commands.ready),
        ]
        new_command = self.groups.p.start
        taken = Signal()
        m.d.comb += [
            group_done.eq(active & end_taps & drained & self.drains.ready),
            next_weights.eq(group_done & group.filter_end & command.weight_step[0]),
            # Where the unit changes, no group is at hand once nothing blocks.
            self.groups.ready.eq((~active | group_done) & ~(new_command & blocked)),
            taken.eq(self.groups.valid & self.groups.ready),
            self.drain_commands.valid.eq(taken & new_command),
            self.drains.valid.eq(active & end_taps & drained),
            self.drains.p.count.eq(group.count),
            self.drains.p.filter_end.eq(group.filter_end),
            self.drains.p.end.eq(group.end),
        ]
        for name in DRAIN_FIELDS:
            m.d.comb += self.drain_commands.p[name].eq(self.command[name])
        for p in range(c.pixels):
            m.d.comb += self.drains.p.out[p].eq(group.positions[p].out)
        with m.If(group_done):
            m.d.sync += [
                active.eq(0),
                until_drained.eq(command.drain_cycles),
                drained.eq(command.drain_cycles == 1),
            ]
        with m.If(taken):
            m.d.sync += [
                group.eq(self.groups.payload),
                active.eq(1),
                first.eq(1),
                first_tap.eq(1),
                first_channel_group.eq(1),
                columns.eq(self.command.kernel_w),
                end_column.eq(offers_one_column),
                rows.eq(self.command.kernel_h),
                end_row.eq(offers_one_row),
                channel_groups.eq(self.command.channel_groups),
                end_channel_group.eq(offers_one_channel_group),
                end_taps.eq(offers_one_column & offers_one_row & offers_one_channel_group),
                tap_origin.eq(0),
            ]
            with m.If(new_command):
                m.d.sync += [
                    command.eq(self.command),
                    one_column.eq(offers_one_column),
                    one_row.eq(offers_one_row),
                    weight_base.eq(self.command.weight_base),
                    weight.eq(self.command.weight_base),
                ]
            # The next filter group's weights follow those of the one that ends.
            with m.Elif(next_weights):
                m.d.sync += [weight_base.eq(weight + 1), weight.eq(weight + 1)]
            with m.Else():
                m.d.sync += weight.eq(weight_base)
        with m.Elif(next_weights):
            m.d.sync += weight_base.eq(weight + 1)
        m.d.sync += [
            self.valid.eq(step),
            self.held.eq(active | self.groups.valid),
            self.first.eq(first),
            self.last.eq(end_taps),
            self.grow.eq(first_tap & ~first_channel_group),
            self.weight_address.eq(weight),
            self.unit.eq(command.unit),
            self.pad.eq(command.pad),
        ]
        # Sums in one cycle, comparisons in the next; the command may have gone by then.
        height, width = Signal(16, reset_less=True), Signal(16, reset_less=True)
        m.d.sync += [height.eq(command.in_height), width.eq(command.in_width)]
        for p in range(c.pixels):
            position = group.positions[p]
            row = Signal(16, name=f"row_{p}", reset_less=True)
            column = Signal(16, name=f"column_{p}", reset_less=True)
            # Unsigned: positions before the first row or column are large numbers.
            inside = (row < height) & (column < width)
            m.d.sync += [
                row.eq(position.row + tap_row),
                column.eq(position.column + tap_column),
                self.read_address.word_select(p, bits).eq(position.origin + tap_origin),
                self.read_padded[p].eq(~inside),
                self.read_valid[p].eq(step & (p < group.count)),
            ]
        return m
