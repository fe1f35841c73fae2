"""Walks over a layer's output positions and gathers them into groups for the array."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Opcode
from hw.contract.structure import activation_address_bits
from hw.rtl.command_layouts import body_layout
from hw.rtl.component import Component

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

    It walks over one position per cycle, so a group of P positions takes P cycles. That is no
    slower than a drain of one position per cycle. For faster drains there is
    :class:`hw.rtl.control.group_walker.GroupWalker`.

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
        s = _State(self.config)
        taken = Signal()
        m.d.comb += taken.eq(self.groups.valid & self.groups.ready)
        with m.If(taken):
            m.d.sync += self.groups.valid.eq(0)
        with m.If(s.walking & (~self.groups.valid | taken)):
            self._gather(m, s)
            self._next_position(m, s)
            with m.If(s.last_position):
                self._next_filter_group(m, s)
        with m.If(self.start):
            self._begin(m, s)
        return m

    def _gather(self, m: Module, s: "_State") -> None:
        """Puts the position into the group's next slot; offers the group once it is complete."""
        group = self.groups.p
        complete = Signal()
        m.d.comb += complete.eq(s.last_position | s.last_slot)
        m.d.sync += self.groups.valid.eq(complete)
        m.d.data += [
            group.positions[s.slot].row.eq(s.row),
            group.positions[s.slot].column.eq(s.column),
            group.positions[s.slot].origin.eq(s.origin),
            group.positions[s.slot].out.eq(s.out),
            group.count.eq(s.slot + 1),
            group.start.eq(s.first_group),
            group.filter_end.eq(s.last_position),
            group.end.eq(s.last_position & s.last_filter),
        ]
        pixels = self.command.pixels
        with m.If(complete):
            m.d.data += [s.slot.eq(0), s.last_slot.eq(pixels == 1), s.first_group.eq(0)]
        with m.Else():
            m.d.data += [s.slot.eq(s.slot + 1), s.last_slot.eq(s.slot + 2 == pixels)]

    def _next_position(self, m: Module, s: "_State") -> None:
        """Moves one column on, or to the next row's first column."""
        command = self.command
        m.d.data += [
            s.positions_left.eq(s.positions_left - 1),
            s.last_position.eq(s.positions_left == 2),
        ]
        with m.If(s.last_column):
            m.d.data += [
                s.columns_left.eq(command.out_width),
                s.last_column.eq(command.out_width == 1),
                s.column.eq(command.column),
                s.row.eq(s.row + command.row_step),
                s.origin.eq(s.origin + command.origin_wrap),
                s.out.eq(s.out + command.out_wrap),
            ]
        with m.Else():
            m.d.data += [
                s.columns_left.eq(s.columns_left - 1),
                s.last_column.eq(s.columns_left == 2),
                s.column.eq(s.column + command.column_step),
                s.origin.eq(s.origin + command.column_step),
                s.out.eq(s.out + command.out_step),
            ]

    def _next_filter_group(self, m: Module, s: "_State") -> None:
        """Begins again at the first position, with words of the next filter group."""
        m.d.sync += s.walking.eq(~s.last_filter)
        m.d.data += [
            s.filters_left.eq(s.filters_left - 1),
            s.last_filter.eq(s.filters_left == 2),
        ]
        self._first_position(m, s, s.base + self.command.group_origin)

    def _begin(self, m: Module, s: "_State") -> None:
        command = self.command
        m.d.sync += s.walking.eq(1)
        m.d.data += [
            s.slot.eq(0),
            s.last_slot.eq(command.pixels == 1),
            s.first_group.eq(1),
            s.filters_left.eq(command.filter_groups),
            s.last_filter.eq(command.filter_groups == 1),
        ]
        self._first_position(m, s, command.in_base)

    def _first_position(self, m: Module, s: "_State", origin: Value) -> None:
        """Goes to a filter group's first position, whose word is ``origin``."""
        command = self.command
        m.d.data += [
            s.positions_left.eq(command.positions),
            s.last_position.eq(command.positions == 1),
            s.columns_left.eq(command.out_width),
            s.last_column.eq(command.out_width == 1),
            s.row.eq(command.row),
            s.column.eq(command.column),
            s.origin.eq(origin),
            s.base.eq(origin),
            s.out.eq(command.out_base),
        ]


class _State:
    """The walker's registers."""

    def __init__(self, config: AcceleratorConfig):
        bits = activation_address_bits(config)
        self.walking = Signal()
        self.filters_left = Signal(16)
        self.positions_left = Signal(16)
        self.columns_left = Signal(16)
        # Whether so many are one. They are computed one position ahead, so that no comparison is in
        # the position's path.
        self.last_filter = Signal()
        self.last_position = Signal()
        self.last_column = Signal()
        # The position that is gathered next, and its filter group's first word.
        self.row = Signal(16)
        self.column = Signal(16)
        self.origin = Signal(bits)
        self.out = Signal(bits)
        self.base = Signal(bits)
        #: The slot that the position goes to, and whether it is the last one in use.
        self.slot = Signal(range(max(2, config.pixels)))
        self.last_slot = Signal()
        #: The group is the command's first.
        self.first_group = Signal()
