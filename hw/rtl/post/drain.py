"""Takes finished outputs out of the array, requantizes them and writes them to memory."""

from itertools import product
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.timing import drain_latency
from hw.rtl.array.array import sums_layout
from hw.rtl.cells.counting import decremented, incremented
from hw.rtl.cells.delay import delayed
from hw.rtl.command_layouts import drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.sequencer import drain_layout
from hw.rtl.memory.ports import (
    ActDrainSignature,
    WideReadSignature,
    activation_address_bits,
    word_layout,
)
from hw.rtl.memory.wide import WideMemory
from hw.rtl.post.requantizer import Requantizer, param_layout

__all__ = ["Drain", "UnitRegisters", "drain_registers"]

#: Numbers whose OR a table of the requantizer's addition takes, beside the addend.
_TERMS = 5


class Drain(Component):
    """Results of a group into the memory: of ``post_positions`` positions, ``post_lanes`` channels.

    So much in each cycle; a group occupies it for a cycle for each chunk of channels and each turn
    of positions, the last of which may have fewer. The sequencer keeps groups that far apart. The
    words of a turn are in different banks. Latency ``drain_latency(config)`` cycles from a result
    to the write of its first chunk. Results of the maximum unit pass through the same requantizers,
    with params that change nothing. One command's first group may follow the last of the one
    before without a gap.

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
    write : ``Out(ActDrainSignature(config))``
    group_done, command_done : ``Out(1)``, the data of a group's last write, and of a command's,
        were there in the cycle before
    """

    config_fields = (
        *("requant", "lanes", "filters", "pixels", "post_lanes", "post_positions"),
        *("act_bits", "acc_bits", "act_depth"),
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
        """Whether the turn is the group's last; with as many positions as pixels there is one."""
        c = self.config
        if c.post_positions < c.pixels:
            # A number at a time: one table.
            m.d.comb += s.last_turn.eq(
                Cat(
                    (self.drains.p.count == pixels) & (s.turn == c.drain_turns(pixels) - 1)
                    for pixels in range(1, c.pixels + 1)
                ).any()
            )

    def _next_chunk(self, m: Module, s: "_State") -> None:
        """Chunks of a turn, turns of a group.

        Only behind a filter group's last position do the channels go on after the last chunk. What
        follows is known before it is known whether anything is drained.
        """
        next_word = Signal()
        next_sub, next_plane, next_param = Signal.like(s.sub), Signal.like(s.plane), Signal(16)
        filter_last, restart = Signal(), Signal()
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
        # A chunk's turn is the cycle before it is taken, the first one before results appear: the
        # next results may follow as soon as the last chunk has been taken.
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
        """The next command's fields are there before its first result is."""
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
        # The next command's may be others in the cycle after.
        wait = WideMemory.latency + requantizers[0].limits_after
        limits = (s.command.low, s.command.high)
        low, high = delayed(m, ("low", "high"), limits, wait, domain="data")
        for lane, requantizer in enumerate(requantizers):
            m.submodules[f"requantizer_{lane}"] = requantizer
            m.d.comb += [
                requantizer.param.eq(self.param.data[lane]),
                requantizer.low.eq(low),
                requantizer.high.eq(high),
            ]
            for position, words in enumerate(terms):
                m.d.comb += self.write.data[position][lane].eq(requantizer.code[position])
                for number, word in enumerate(words):
                    m.d.comb += requantizer.acc[position][number].eq(word[lane])

    def _write(self, m: Module, s: "_State") -> None:
        """The write's address travels beside the data, two cycles ahead."""
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

    def _terms(self, m: Module, s: "_State", position: int) -> list[Signal]:
        """Registers of which one has the turn's chunk of sums, and all others are zero."""
        c = self.config
        pixels = range(position, c.pixels, c.post_positions)
        taken, terms = drain_registers(c, len(pixels)), []
        for kind, values in {
            Unit.ARRAY: self.acc,
            Unit.SUM: self.sum,
            Unit.MAX: self.max,
        }.items():
            words = self._chunks(values, pixels)
            chunk_bits = (len(words) // len(pixels) - 1).bit_length()
            # Bits beside each other choose with less logic than a number would; what they say
            # beyond the chunks and pixels that there are never counts.
            index = Cat(s.chunk[:chunk_bits], s.turn[: (len(pixels) - 1).bit_length()])
            size = taken[kind].size
            for first in range(0, max(words) + 1, size):
                there = [words.get(first + i) for i in range(size)]
                if any(word is not None for word in there):
                    name = _numbered(f"{kind.name.lower()}_{len(terms)}", position)
                    terms.append(self._term(m, s, name, kind, there, first, index))
        return terms

    def _chunks(self, values: data.View, pixels: range) -> dict[int, Value]:
        """The chunks of all channels of some pixels, by chunk and then by pixel.

        Their numbers have the chunk's in the low bits.
        """
        lanes = self.config.post_lanes
        count = values.shape().elem_shape.length // lanes
        chunk_bits = (count - 1).bit_length()
        return {
            number << chunk_bits | chunk: Cat(
                Value.cast(values[pixel][chunk * lanes + lane]) for lane in range(lanes)
            )
            for number, pixel in enumerate(pixels)
            for chunk in range(count)
        }

    def _term(
        self,
        m: Module,
        s: "_State",
        name: str,
        kind: Unit,
        words: list[Value | None],
        first: int,
        index: Value,
    ) -> data.View:
        """A register of one of the words, from number ``first`` on, or of zero."""
        select_bits = (len(words) - 1).bit_length()
        there = [word for word in words if word is not None]
        width = len(there[0]) // self.config.post_lanes
        layout = data.ArrayLayout(signed(width), self.config.post_lanes)
        term = Signal(layout, name=name)
        chosen = words[0]
        if len(words) > 1:
            select = Signal(select_bits, name=f"select_{name}")
            m.d.data += select.eq(index[:select_bits])
            chosen = Array(there[-1] if word is None else word for word in words)[select]
        # Cleared by the registers' resets, which take no tables.
        clear = Signal(name=f"clear_{name}")
        m.d.data += [
            clear.eq((s.command.unit != kind) | (index[select_bits:] != first >> select_bits)),
            Value.cast(term).eq(chosen),
        ]
        with m.If(clear):
            m.d.data += Value.cast(term).eq(0)
        return term


class _State:
    """The drain's registers, and what they say together."""

    def __init__(self, config: AcceleratorConfig):
        bits, subs = activation_address_bits(config), config.lanes // config.post_lanes
        self.command = Signal(drain_command_layout())
        self.have_command = Signal()
        #: A chunk is drained.
        self.active = Signal()
        #: The first position that is drained is ``post_positions`` times as many.
        self.turn = Signal(range(max(2, config.drain_turns(config.pixels))))
        self.chunk = Signal(8)
        # This one included; whether it is the last is known from the one before.
        self.chunks_left, self.last_chunk = Signal(8), Signal()
        # Chunk of the output: place in the word, plane of words, params. And those of the first
        # chunk of the filter group.
        self.sub, self.first_sub = Signal(range(max(2, subs))), Signal(range(max(2, subs)))
        self.plane, self.first_plane = Signal(bits), Signal(bits)
        self.param, self.first_param = Signal(16), Signal(16)
        # Not registers.
        self.last_turn = Signal(init=1)
        self.last, self.command_end = Signal(), Signal()


class UnitRegisters(NamedTuple):
    """Registers in front of a lane's requantizer for the results of one unit."""

    number: int
    #: Of each.
    bits: int
    #: In front of each.
    tables: int
    #: Chunks that share one.
    size: int


def drain_registers(config: AcceleratorConfig, pixels: int) -> dict[Unit, UnitRegisters]:
    """What chunks of results are taken into, for a position that is that of one of some pixels.

    The OR of five registers is free in a requantizer's first addition; chunks that share one have
    to be chosen from. So no more registers than that, and the fewest tables.
    """
    units = {
        Unit.ARRAY: (config.filters, config.acc_bits),
        Unit.SUM: (config.lanes, config.acc_bits),
        Unit.MAX: (config.lanes, config.act_bits),
    }
    options = []
    for channels, bits in units.values():
        most = pixels << (channels // config.post_lanes - 1).bit_length()
        sizes = (1 << i for i in range((most - 1).bit_length() + 1))
        options.append(
            [
                UnitRegisters(-(-most // size), bits, bits * -(-(size - 1) // 3), size)
                for size in sizes
            ]
        )
    fitting = (
        choice for choice in product(*options) if sum(unit.number for unit in choice) <= _TERMS
    )
    best = min(fitting, key=lambda choice: sum(unit.number * unit.tables for unit in choice))
    return dict(zip(units, best, strict=True))


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
