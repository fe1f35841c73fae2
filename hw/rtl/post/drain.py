"""Takes finished outputs out of the array, requantizes them and writes them to memory."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import MOST_TABLE_BITS, AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.structure import DrainRegister, activation_address_bits, drain_registers
from hw.contract.timing import drain_latency
from hw.contract.words import table_word_bits
from hw.rtl.array.array import sums_layout
from hw.rtl.cells.counting import decremented, incremented
from hw.rtl.cells.delay import delayed
from hw.rtl.command_layouts import drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.sequencer import drain_layout
from hw.rtl.memory.ports import (
    ActDrainSignature,
    WideReadSignature,
    WideWriteSignature,
    word_layout,
)
from hw.rtl.memory.wide import WideMemory
from hw.rtl.post.knot_table import KnotTable
from hw.rtl.post.requantizer import Requantizer, param_layout
from hw.rtl.post.table import Table

__all__ = ["Drain"]


class Drain(Component):
    """Requantizes a group's results and writes them to the activation memory.

    Each cycle takes one chunk (``post_lanes`` channels) of one turn (``post_positions`` positions;
    the last turn may have fewer). So a group takes chunks times turns cycles. The sequencer keeps
    groups at least so far apart. The words of a turn are in different banks.

    The first chunk of a result is written ``drain_latency(config)`` cycles after the result. The
    next command's first group may follow without a gap. Results of the maximum unit pass through
    the same requantizers, with params that change nothing. Where the configuration has tables, a
    command says whether its codes pass through the table.

    Members
    -------
    commands : ``In(stream.Signature(drain_command_layout()))``, each at least two cycles before its
        first result
    drains : ``In(stream.Signature(drain_layout(config)))``, in the order of the results
    result_soon : ``In(1)``, in two cycles a unit has another result
    acc : ``In(...)``, from the array: for each pixel the sums of all filters
    sum : ``In(...)``, from the channel-wise sums: for each pixel those of all lanes
    max : ``In(...)``, from the maximum unit: a word for each pixel
    param : ``Out(WideReadSignature(...))``, of params of ``post_lanes`` channels
    table : ``In(WideWriteSignature(...))``, words of the table, where the configuration has tables
    write : ``Out(ActDrainSignature(config))``
    group_done, command_done : ``Out(1)``, the data of a group's last write, and of a command's,
        were there in the cycle before
    """

    config_fields = (
        *("requant", "lanes", "filters", "pixels", "post_lanes", "post_positions"),
        *("act_bits", "acc_bits", "act_depth", "tables"),
    )

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "commands": In(stream.Signature(drain_command_layout())),
            "drains": In(stream.Signature(drain_layout(c))),
            "result_soon": In(1),
            "acc": In(sums_layout(c, c.filters)),
            "max": In(data.ArrayLayout(word_layout(c), c.pixels)),
            "sum": In(sums_layout(c, c.lanes)),
            "param": Out(WideReadSignature(data.ArrayLayout(param_layout(c), c.post_lanes))),
            **(
                {"table": In(WideWriteSignature(table_word_bits(c)))} if c.tables else {}
            ),
            "write": Out(ActDrainSignature(c)),
            "group_done": Out(1),
            "command_done": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        state = _State(self.config)
        self._last_turn(m, state)
        self._next_chunk(m, state)
        self._next_command(m, state)
        self._requantize(m, state)
        self._write(m, state)
        return m

    def _last_turn(self, m: Module, s: "_State") -> None:
        """Finds out whether the turn is the group's last one.

        There is only one if ``post_positions`` is ``pixels``.
        """
        c = self.config
        if c.post_positions < c.pixels:
            # Each number of positions is compared by a single table.
            m.d.comb += s.last_turn.eq(
                Cat(
                    (self.drains.p.count == pixels) & (s.turn == c.drain_turns(pixels) - 1)
                    for pixels in range(1, c.pixels + 1)
                ).any()
            )

    def _next_chunk(self, m: Module, s: "_State") -> None:
        """Steps through the chunks of a turn, then through the turns of a group.

        Each turn has the same channels, until a filter group's last position is done: then the next
        filter group's channels follow. The next values do not depend on ``active``, which is late.
        """
        next_word = Signal()
        next_sub = Signal.like(s.sub)
        next_plane = Signal.like(s.plane)
        next_param = Signal(16)
        filter_last = Signal()
        restart = Signal()
        m.d.comb += [
            s.last.eq(s.active & s.last_chunk & s.last_turn),
            self.drains.ready.eq(s.last),
            next_word.eq(s.sub == self.config.lanes // self.config.post_lanes - 1),
            next_sub.eq(Mux(next_word, 0, incremented(s.sub))),
            next_plane.eq(Mux(next_word, s.plane + s.command.out_plane, s.plane)),
            next_param.eq(s.param + s.command.param_step),
            self.param.address.eq(s.param),
            filter_last.eq(s.last_turn & self.drains.p.filter_end),
            restart.eq(s.last_chunk & ~filter_last),
        ]
        # A chunk is selected one cycle before it is taken. The first one is selected before the
        # results appear, so that the next results may follow as soon as the last chunk is taken.
        m.d.sync += s.active.eq((s.active & ~s.last) | self.result_soon)
        with m.If(s.active):
            m.d.sync += s.chunk.eq(Mux(s.last_chunk, 0, incremented(s.chunk)))
            chunks = s.command.chunks
            m.d.data += [
                s.chunks_left.eq(Mux(s.last_chunk, chunks, decremented(s.chunks_left))),
                s.last_chunk.eq(Mux(s.last_chunk, chunks == 1, s.chunks_left == 2)),
                s.sub.eq(Mux(restart, s.first_sub, next_sub)),
                s.plane.eq(Mux(restart, s.first_plane, next_plane)),
                s.param.eq(Mux(restart, s.first_param, next_param)),
            ]
        with m.If(s.active & s.last_chunk):
            m.d.sync += s.turn.eq(Mux(s.last_turn, 0, incremented(s.turn)))
        with m.If(s.active & s.last_chunk & filter_last):
            m.d.data += [
                s.first_sub.eq(next_sub),
                s.first_plane.eq(next_plane),
                s.first_param.eq(next_param),
            ]

    def _next_command(self, m: Module, s: "_State") -> None:
        """Takes the next command's fields; they are there before its first result."""
        m.d.comb += [
            s.command_end.eq(s.last & self.drains.p.end),
            self.commands.ready.eq(~s.have_command | s.command_end),
        ]
        with m.If(self.commands.valid & self.commands.ready):
            following = self.commands.payload
            m.d.sync += s.have_command.eq(1)
            m.d.data += [
                s.command.eq(following),
                s.chunks_left.eq(following.chunks),
                s.last_chunk.eq(following.chunks == 1),
                s.sub.eq(following.sub),
                s.first_sub.eq(following.sub),
                s.plane.eq(0),
                s.first_plane.eq(0),
                s.param.eq(following.param_base),
                s.first_param.eq(following.param_base),
            ]
        with m.Elif(s.command_end):
            m.d.sync += s.have_command.eq(0)

    def _requantize(self, m: Module, s: "_State") -> None:
        c = self.config
        positions = range(c.post_positions)
        terms = [self._terms(m, s, position) for position in positions]
        most = max(map(len, terms))
        requantizers = [
            Requantizer(c, positions=c.post_positions, terms=most) for _ in range(c.post_lanes)
        ]
        # Limits travel with the results: the next command's, which may differ, come right behind.
        wait = WideMemory.latency + requantizers[0].limits_after
        limits = (s.command.low, s.command.high)
        low, high = delayed(m, ("low", "high"), limits, wait, domain="data")
        of_table = None
        if c.tables:
            # With the codes.
            cycles = WideMemory.latency + requantizers[0].latency
            bits = (s.command.table[: 5 if c.act_bits > MOST_TABLE_BITS else 1],)
            (of_table,) = delayed(m, ("of_table",), bits, cycles, domain="data")
        for lane, requantizer in enumerate(requantizers):
            m.submodules[f"requantizer_{lane}"] = requantizer
            m.d.comb += [
                requantizer.param.eq(self.param.data[lane]),
                requantizer.low.eq(low),
                requantizer.high.eq(high),
            ]
            codes = requantizer.code
            if c.tables:
                codes = self._looked_up(m, lane, requantizer, of_table)
            for position, words in enumerate(terms):
                m.d.comb += self.write.data[position][lane].eq(codes[position])
                for number, word in enumerate(words):
                    m.d.comb += requantizer.acc[position][number].eq(word[lane])

    def _looked_up(
        self, m: Module, lane: int, requantizer: Requantizer, of_table: Value
    ) -> data.View:
        """The lane's codes after its table. ``of_table`` is the command's field."""
        kind = KnotTable if self.config.act_bits > MOST_TABLE_BITS else Table
        table = kind(self.config, positions=self.config.post_positions)
        m.submodules[f"table_{lane}"] = table
        m.d.comb += [
            table.write.address.eq(self.table.address),
            table.write.data.eq(self.table.data),
            table.write.enable.eq(self.table.enable),
            table.use.eq(of_table[0]),
            table.code.eq(requantizer.code),
        ]
        if kind is KnotTable:
            m.d.comb += table.shift.eq(of_table[1:])
        else:
            m.d.comb += table.next_code.eq(requantizer.next_code)
        return table.result

    def _write(self, m: Module, s: "_State") -> None:
        """Writes the codes. Addresses arrive two cycles before the data."""
        c = self.config
        valid, addresses = [], []
        for first in range(c.post_positions):
            outs = Array(self.drains.p.out[i] for i in range(first, c.pixels, c.post_positions))
            address = Signal.like(s.plane, name=_numbered("address", first))
            m.d.comb += address.eq(outs[s.turn] + s.plane)
            addresses.append(address)
            position = s.turn * c.post_positions + first
            valid.append(s.active & (position < self.drains.p.count) if first else s.active)
        cycles = drain_latency(c) - 1
        flags = (Cat(*valid), s.last, s.command_end)
        written, last, end = delayed(m, ("valid", "last", "end"), flags, cycles)
        where = (Cat(*addresses), s.sub)
        address, sub = delayed(m, ("address", "sub"), where, cycles, domain="data")
        m.d.comb += [
            self.write.valid.eq(written),
            Value.cast(self.write.address).eq(address),
            self.write.sub.eq(sub),
        ]
        done = delayed(m, ("last_written", "end_written"), (last, end), 3)
        m.d.comb += [self.group_done.eq(done[0]), self.command_done.eq(done[1])]

    def _terms(self, m: Module, s: "_State", position: int) -> list[data.View]:
        """Registers in front of the requantizers: one holds the chunk, all others are zero."""
        c = self.config
        pixels = range(position, c.pixels, c.post_positions)
        return [
            self._term(m, s, _numbered(f"chunk_{number}", position), register, pixels)
            for number, register in enumerate(drain_registers(c, len(pixels)))
        ]

    def _term(
        self, m: Module, s: "_State", name: str, register: DrainRegister, pixels: range
    ) -> data.View:
        """A register that holds one of its chunks, or zero while the chunk is none of them."""
        lanes = self.config.post_lanes
        values = {Unit.ARRAY: self.acc, Unit.SUM: self.sum, Unit.MAX: self.max}
        layout = data.ArrayLayout(signed(register.bits), lanes)
        term, words, taken = Signal(layout, name=name), [], []
        for unit, pixel, chunk in register.sources:
            channels = values[unit][pixels[pixel]]
            word = Signal(layout, name=f"{name}_{len(words)}")
            m.d.comb += [
                word[lane].eq(Value.cast(channels[chunk * lanes + lane]).as_signed())
                for lane in range(lanes)
            ]
            words.append(word)
            # Numbers that stand for no chunk or no pixel never occur while something is drained.
            chunk_bits = (len(channels) // lanes - 1).bit_length()
            turn_bits = (len(pixels) - 1).bit_length()
            place = Cat(s.chunk[:chunk_bits], s.turn[:turn_bits])
            taken.append((s.command.unit == unit) & (place == pixel << chunk_bits | chunk))
        chosen = words[0]
        if len(words) > 1:
            select = Signal(range(len(words)), name=f"select_{name}")
            m.d.data += select.eq(
                Cat(
                    Cat(one for number, one in enumerate(taken) if number >> bit & 1).any()
                    for bit in range(len(select))
                )
            )
            chosen = Array(words)[select]
        # The registers' resets clear it; that takes no tables.
        clear = Signal(name=f"clear_{name}")
        m.d.data += [
            clear.eq(~Cat(taken).any()),
            Value.cast(term).eq(Value.cast(chosen)),
        ]
        with m.If(clear):
            m.d.data += Value.cast(term).eq(0)
        return term


class _State:
    """The drain's registers, and signals that follow from them."""

    def __init__(self, config: AcceleratorConfig):
        bits, subs = activation_address_bits(config), config.lanes // config.post_lanes
        self.command = Signal(drain_command_layout())
        self.have_command = Signal()
        #: A chunk is selected in this cycle.
        self.active = Signal()
        #: The turn's first position is ``turn * post_positions``.
        self.turn = Signal(range(max(2, config.drain_turns(config.pixels))))
        chunks = max(config.filters, config.lanes) // config.post_lanes
        self.chunk = Signal(range(max(2, chunks)))
        # Chunks that are left, this one included; whether it is the last one. Both are computed one
        # chunk ahead.
        self.chunks_left = Signal(8)
        self.last_chunk = Signal()
        # Where the chunk goes: part of the output word; words from the filter group's first plane;
        # address of its params. `first_…` are those of the filter group's first chunk.
        self.sub = Signal(range(max(2, subs)))
        self.first_sub = Signal(range(max(2, subs)))
        self.plane = Signal(bits)
        self.first_plane = Signal(bits)
        self.param = Signal(16)
        self.first_param = Signal(16)
        # These are no registers.
        self.last_turn = Signal(init=1)
        self.last = Signal()
        self.command_end = Signal()


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
