"""Turns groups of positions into steps of the array: addresses, padding and flags."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import DRAIN_FIELDS, Opcode, Product, Unit
from hw.contract.structure import activation_address_bits
from hw.rtl.array.digits import digit_flags
from hw.rtl.command_layouts import body_layout, drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.walker import group_layout
from hw.rtl.memory.ports import ActReadSignature

__all__ = ["StepSequencer", "drain_layout"]


def drain_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Where the results of one group go: the words ``out`` of ``count`` positions.

    ``filter_end`` marks a filter group's last group, ``end`` the command's.
    """
    return data.StructLayout({
        "out": data.ArrayLayout(activation_address_bits(config), config.pixels),
        "count": range(config.pixels + 1),
        "filter_end": 1,
        "end": 1,
    })  # fmt: skip


def _corner(config: AcceleratorConfig) -> data.StructLayout:
    """As the fields of the same names in :func:`~hw.rtl.control.walker.group_layout`."""
    bits = activation_address_bits(config)
    return data.StructLayout({"row": 16, "column": 16, "origin": bits})


class StepSequencer(Component):
    """Issues a step per cycle: all taps of a group, channel groups outermost, then the next group.

    A group's last step waits until the group before has had ``drain_cycles`` to drain. So the drain
    never needs to stop the array. The next command's groups follow without a gap if it runs on the
    same unit. A command of another unit waits until nothing is ``pending``, and one cycle more:
    units have different latencies, and no result may overtake another.

    Outputs are registered: they appear one cycle after their step.

    Members
    -------
    command : ``In(body_layout(Opcode.COMPUTE))``, the command of the groups that are offered; it
        arrives at least two cycles before the first of them
    groups : ``In(stream.Signature(group_layout(config)))``
    drain_commands : ``Out(stream.Signature(drain_command_layout()))``, one for each command, in the
        cycle in which its first group is taken; ``ready`` must stay high until then
    drains : ``Out(stream.Signature(drain_layout(config)))``, one for each group, at its last step;
        ``ready`` must be high then
    drain_room : ``In(1)``, in the next cycle ``drains.ready`` will be high; without it no group
        ends in that cycle
    pending : ``In(1)``, a group that was handed to ``drains`` is not yet written
    valid : ``Out(1)``, there is a step
    first, last : ``Out(1)``, it is the first, the last of its group
    held : ``Out(1)``, there were positions for a step
    grow : ``Out(1)``, the first tap of a channel group other than the first, or of one that follows
        the command before
    unit : ``Out(Unit)``, of the step's command
    factor : ``Out(digit_flags())``, where the configuration has products
    read : ``Out(ActReadSignature(config))``
    weight_address : ``Out(16)``
    """

    config_fields = ("pixels", "act_bits", "act_depth", "products", "taps_name")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "command": In(body_layout(Opcode.COMPUTE)),
            "groups": In(stream.Signature(group_layout(config))),
            "drain_commands": Out(stream.Signature(drain_command_layout())),
            "pending": In(1),
            "unit": Out(Unit),
            "drains": Out(stream.Signature(drain_layout(config))),
            "drain_room": In(1),
            "valid": Out(1),
            "held": Out(1),
            "first": Out(1),
            "last": Out(1),
            "grow": Out(1),
            **({"factor": Out(digit_flags())} if config.products else {}),
            "read": Out(ActReadSignature(config)),
            "weight_address": Out(16),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        state = _State(self.config)
        step = Signal()
        group_done = Signal()
        taken = Signal()
        self._offered(m, state)
        self._steps(m, state, step)
        self._next_tap(m, state, step)
        self._groups(m, state, group_done, taken)
        with m.If(taken):
            self._begin(m, state)
        self._weights(m, state, step, group_done, taken)
        self._flags(m, state, step)
        self._reads(m, state, step)
        return m

    def _offered(self, m: Module, s: "_State") -> None:
        """Prepares what the offered command's first group needs when it comes."""
        one_column = self.command.kernel_w == 1
        one_row = self.command.kernel_h == 1
        one_channel_group = self.command.channel_groups == 1
        m.d.data += [
            s.offers_one_column.eq(one_column),
            s.offers_one_row.eq(one_row),
            s.offers_one_channel_group.eq(one_channel_group),
            s.offers_one_tap.eq(one_column & one_row & one_channel_group),
            s.offers_one_drain_cycle.eq(self.command.drain_cycles == 1),
        ]
        m.d.sync += [
            s.other_unit.eq(self.command.unit != s.command.unit),
            s.blocked.eq((s.other_unit & (s.active | self.pending)) | ~self.drain_commands.ready),
        ]

    def _steps(self, m: Module, s: "_State", step: Signal) -> None:
        """Decides whether there is a step; a group's last one waits for the drain before it."""
        m.d.comb += step.eq(s.active & (~s.end_taps | s.may_end))
        with m.If(~s.drained):
            m.d.sync += [
                s.until_drained.eq(s.until_drained - 1),
                s.drained.eq(s.until_drained == 2),
            ]

    def _next_tap(self, m: Module, s: "_State", step: Signal) -> None:
        """Goes to the next tap: columns first, then rows, then channel groups."""
        command = s.command
        end_column = Signal()
        end_row = Signal()
        end_channel_group = Signal()
        m.d.comb += [
            end_column.eq(Mux(s.end_column, s.one_column, s.columns == 2)),
            end_row.eq(Mux(s.end_column, Mux(s.end_row, s.one_row, s.rows == 2), s.end_row)),
            end_channel_group.eq(
                Mux(s.end_column & s.end_row, s.channel_groups == 2, s.end_channel_group)
            ),
            s.next_end_taps.eq(end_column & end_row & end_channel_group),
        ]
        with m.If(step):
            m.d.data += [
                s.first.eq(0),
                s.first_tap.eq(0),
                s.end_column.eq(end_column),
                s.end_row.eq(end_row),
                s.end_channel_group.eq(end_channel_group),
                s.end_taps.eq(s.next_end_taps),
            ]
            with m.If(~s.end_column):
                m.d.data += [
                    s.columns.eq(s.columns - 1),
                    s.tap_column.eq(s.tap_column + command.tap_column),
                    s.tap_origin.eq(s.tap_origin + command.tap_column),
                ]
            with m.Else():
                m.d.data += [s.columns.eq(command.kernel_w), s.tap_column.eq(0)]
            with m.If(s.end_column & ~s.end_row):
                m.d.data += [
                    s.rows.eq(s.rows - 1),
                    s.tap_row.eq(s.tap_row + command.tap_row),
                    s.tap_origin.eq(s.tap_origin + command.tap_row_origin),
                ]
            with m.If(s.end_column & s.end_row):
                m.d.data += [
                    s.rows.eq(command.kernel_h),
                    s.tap_row.eq(0),
                    s.channel_groups.eq(s.channel_groups - 1),
                    s.first_tap.eq(1),
                    s.first_channel_group.eq(0),
                    s.tap_origin.eq(s.tap_origin + command.tap_group_origin),
                ]
                if self.config.products:
                    # Only the factor is somewhere else.
                    with m.If(self._product(s, Product.DIGITS)):
                        m.d.data += s.tap_origin.eq(0)

    def _groups(self, m: Module, s: "_State", group_done: Signal, taken: Signal) -> None:
        """Takes groups, and hands commands and groups to the drain."""
        starts = self.groups.p.start
        m.d.comb += [
            group_done.eq(s.may_end),
            # Where the unit changes, `blocked` falls only after the last group has left.
            self.groups.ready.eq(s.free & ~(starts & s.blocked)),
            taken.eq(self.groups.valid & self.groups.ready),
            self.drain_commands.valid.eq(taken & starts),
            self.drains.valid.eq(s.may_end),
            self.drains.p.count.eq(s.group.count),
            self.drains.p.filter_end.eq(s.group.filter_end),
            self.drains.p.end.eq(s.group.end),
        ]
        for name in DRAIN_FIELDS:
            m.d.comb += self.drain_commands.p[name].eq(self.command[name])
        for p in range(self.config.pixels):
            m.d.comb += self.drains.p.out[p].eq(s.group.positions[p].out)
        with m.If(group_done):
            m.d.sync += [
                s.active.eq(0),
                s.until_drained.eq(s.command.drain_cycles),
                s.drained.eq(s.one_drain_cycle),
            ]
        with m.If(taken):
            m.d.sync += s.active.eq(1)
        # The same as the next cycle's `active`, `end_taps` and `drained` together, and room.
        drained = s.drained | (s.until_drained == 2)
        stays = s.active & ~group_done & (s.end_taps | s.next_end_taps) & drained & self.drain_room
        soon = Mux(group_done, s.one_drain_cycle, drained)
        begins = s.offers_one_tap & soon & self.drain_room
        m.d.sync += [
            s.may_end.eq(Mux(taken, begins, stays)),
            s.free.eq(Mux(taken, begins, stays | ~s.active | group_done)),
        ]

    def _begin(self, m: Module, s: "_State") -> None:
        """Begins a group at its first tap; a command's first group brings the command's fields."""
        m.d.data += [
            s.group.eq(self.groups.payload),
            s.first.eq(~self.command.adds[0]),
            s.first_tap.eq(1),
            s.first_channel_group.eq(~self.command.adds[1]),
            s.columns.eq(self.command.kernel_w),
            s.end_column.eq(s.offers_one_column),
            s.rows.eq(self.command.kernel_h),
            s.end_row.eq(s.offers_one_row),
            s.channel_groups.eq(self.command.channel_groups),
            s.end_channel_group.eq(s.offers_one_channel_group),
            s.end_taps.eq(s.offers_one_tap),
            s.tap_origin.eq(self.command.factor if self.config.products else 0),
            s.tap_row.eq(0),
            s.tap_column.eq(0),
        ]
        if self.config.depthwise_taps > 1:
            self._begin_words(m, s)
        with m.If(self.groups.p.start):
            m.d.data += [
                s.command.eq(self.command),
                s.one_column.eq(s.offers_one_column),
                s.one_row.eq(s.offers_one_row),
                s.one_drain_cycle.eq(s.offers_one_drain_cycle),
            ]

    def _begin_words(self, m: Module, s: "_State") -> None:
        """Finds the words that a group reads: those of its positions, or words in a row."""
        group, several = self.groups.p, self.command.adds[2]
        corner, more = group.positions[0], self.config.depthwise_taps - 1
        m.d.data += s.count.eq(group.count + Mux(several, more, 0))
        for number, word in enumerate(s.words):
            # Words beyond the positions are read only where they are in a row.
            beyond = number >= self.config.pixels
            own = corner if beyond else group.positions[number]
            ahead = number if beyond else Mux(several, number, 0)
            m.d.data += [
                word.row.eq(Mux(several, corner.row, own.row)),
                word.column.eq(Mux(several, corner.column, own.column) + ahead),
                word.origin.eq(Mux(several, corner.origin, own.origin) + ahead),
            ]

    def _weights(
        self, m: Module, s: "_State", step: Signal, group_done: Signal, taken: Signal
    ) -> None:
        """Moves on one weight word per step.

        A group begins at its filter group's first word. The next filter group's words follow
        directly, unless ``weight_step`` is 0.
        """
        follows = Signal()
        m.d.comb += follows.eq(group_done & s.group.filter_end & s.command.weight_step[0])
        with m.If(step):
            m.d.data += s.weight.eq(s.weight + 1)
        with m.If(taken & self.groups.p.start):
            base = self.command.weight_base
            m.d.data += [s.weight_base.eq(base), s.weight.eq(base)]
        with m.Elif(follows):
            m.d.data += s.weight_base.eq(s.weight + 1)
            with m.If(taken):
                m.d.data += s.weight.eq(s.weight + 1)
        with m.Elif(taken):
            m.d.data += s.weight.eq(s.weight_base)

    def _flags(self, m: Module, s: "_State", step: Signal) -> None:
        m.d.sync += [self.valid.eq(step), self.held.eq(s.active | self.groups.valid)]
        m.d.data += [
            self.first.eq(s.first),
            self.last.eq(s.end_taps),
            self.grow.eq(s.first_tap & ~s.first_channel_group),
            self.weight_address.eq(s.weight),
            self.unit.eq(s.command.unit),
            # Its sign tells which of the two values `pad` has.
            self.read.pad_lowest.eq(s.command.pad[self.config.act_bits - 1]),
        ]
        if self.config.products:
            digits = self._product(s, Product.DIGITS)
            digit = digits & ~s.first_channel_group
            m.d.data += [
                self.factor.product.eq(digits),
                self.factor.digit.eq(digit),
                self.factor.take.eq(digits & s.first),
                self.factor.turn.eq(digit & s.end_column),
                self.factor.negate.eq(~s.first_tap),
                self.factor.unsigned.eq(self._product(s, Product.UNSIGNED)),
            ]

    def _product(self, s: "_State", flag: Product) -> Value:
        return s.command.product[flag.value.bit_length() - 1]

    def _reads(self, m: Module, s: "_State", step: Signal) -> None:
        """Computes addresses, and in the next cycle whether they are in the padding.

        The command's sizes are kept for that cycle, because the command may be another by then.
        """
        height = Signal(16)
        width = Signal(16)
        m.d.data += [height.eq(s.command.in_height), width.eq(s.command.in_width)]
        for p, position in enumerate(s.words):
            row, column = Signal(16, name=f"row_{p}"), Signal(16, name=f"column_{p}")
            # Unsigned numbers: positions before the first row or column are large ones.
            inside = (row < height) & (column < width)
            origin = position.origin
            if self.config.products:
                shared = self._product(s, Product.SHARED) & s.first_channel_group
                origin = Mux(shared, 0, origin)
            m.d.sync += self.read.valid[p].eq(step & (p < s.count))
            m.d.data += [
                row.eq(position.row + s.tap_row),
                column.eq(position.column + s.tap_column),
                self.read.address[p].eq(origin + s.tap_origin),
                self.read.padded[p].eq(~inside),
            ]


class _State:
    """The sequencer's registers."""

    def __init__(self, config: AcceleratorConfig):
        #: While ``active``, steps belong to this group and this command.
        self.active = Signal()
        self.group = Signal(group_layout(config))
        self.command = Signal(body_layout(Opcode.COMPUTE))
        #: Corners of what the group reads, and how many of them there are: of its positions, or
        #: also of neighbours.
        if config.depthwise_taps > 1:
            self.words = [
                Signal(_corner(config), name=f"word_{i}") for i in range(config.read_words)
            ]
            self.count = Signal(range(config.read_words + 1))
        else:
            self.words = [self.group.positions[i] for i in range(config.pixels)]
            self.count = self.group.count
        # Offsets of the tap from the window's corner.
        self.tap_origin = Signal(activation_address_bits(config))
        self.tap_row = Signal(16)
        self.tap_column = Signal(16)
        # Taps that are left of each kind, this one included; whether it is the last one of its kind
        # or of all. They are computed one step ahead, so that no comparison is in a step's path.
        self.columns = Signal(8)
        self.rows = Signal(8)
        self.channel_groups = Signal(16)
        self.end_column = Signal()
        self.end_row = Signal()
        self.end_channel_group = Signal()
        self.end_taps = Signal()
        #: Whether the step after this one is the last of all. No register.
        self.next_end_taps = Signal()
        #: The step is its group's first one, and adds to nothing.
        self.first = Signal()
        self.first_tap = Signal()
        self.first_channel_group = Signal()
        self.weight_base = Signal(16)
        self.weight = Signal(16)
        #: Cycles until the group before is drained; whether it is.
        self.until_drained = Signal(16)
        self.drained = Signal(init=1)
        #: The last step is taken: ``active``, ``end_taps``, ``drained`` and room for the results.
        #: A register of its own, because it moves on everything in front of the array. So does
        #: ``free``: a group may follow, as there is none or its last step is taken.
        self.may_end = Signal()
        self.free = Signal(init=1)
        # Whether the offered command, or the current one, has only one tap of a kind or of all, and
        # one cycle to drain.
        self.offers_one_column = Signal()
        self.offers_one_row = Signal()
        self.offers_one_channel_group = Signal()
        self.offers_one_tap = Signal()
        self.offers_one_drain_cycle = Signal()
        self.one_column = Signal()
        self.one_row = Signal()
        self.one_drain_cycle = Signal()
        #: The offered command must wait: results of another unit are under way, or the drain has no
        #: room for the command. Computed before its first group is offered.
        self.other_unit = Signal()
        self.blocked = Signal()
