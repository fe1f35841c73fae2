"""Takes finished outputs out of the array, requantizes them and writes them to memory."""

from itertools import product
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.timing import drain_latency
from hw.rtl.cells.counting import decremented, incremented
from hw.rtl.cells.delay import delayed
from hw.rtl.command_layouts import drain_command_layout
from hw.rtl.component import Component
from hw.rtl.control.sequencer import drain_layout
from hw.rtl.memory.activations import activation_address_bits
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
    with parameters that change nothing. One command's first group may follow the last of the one
    before without a gap.

    Members
    -------
    commands : ``In(stream.Signature(drain_command_layout()))``, each at least two cycles before its
        first result
    drains : ``In(stream.Signature(drain_layout(config)))``, in the order of the results
    result_soon : ``In(1)``, in two cycles a unit has another result
    acc : from the array, ``max`` : from the maximum unit, ``sum`` : from the channel-wise sums
    param_address : ``Out(16)``, ``param`` : ``In(post_lanes * parameter bits)``
    write_valid : ``Out(post_positions)``, ``write_address`` : ``Out``, as many beside each other,
        ``write_sub`` : ``Out``, of all of them; to the activation memory
    write_data : ``Out``, as many beside each other, two cycles after their address
    group_done, command_done : ``Out(1)``, the data of a group's last write, and of a command's,
        were there in the cycle before
    """

    config_fields = (
        "requant",
        "lanes",
        "filters",
        "pixels",
        "post_lanes",
        "post_positions",
        "act_bits",
        "acc_bits",
        "act_depth",
    )

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "commands": In(stream.Signature(drain_command_layout())),
            "drains": In(stream.Signature(drain_layout(c))),
            "result_soon": In(1),
            "acc": In(c.pixels * c.filters * c.acc_bits),
            "max": In(c.pixels * c.act_word_bits),
            "sum": In(c.pixels * c.lanes * c.acc_bits),
            "param_address": Out(16),
            "param": In(c.post_lanes * param_layout(c).size),
            "write_valid": Out(c.post_positions),
            "write_address": Out(c.post_positions * activation_address_bits(c)),
            "write_sub": Out(range(max(2, c.lanes // c.post_lanes))),
            "write_data": Out(c.post_positions * c.post_lanes * c.act_bits),
            "group_done": Out(1),
            "command_done": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        bits = activation_address_bits(c)
        subs = c.lanes // c.post_lanes

        together = c.post_positions

        command = Signal(drain_command_layout())
        have_command = Signal()
        # In turns: the first pixel that is drained is `together` times as many.
        pixel = Signal(range(max(2, c.drain_turns(c.pixels))))
        chunk = Signal(8)
        # This one included; whether it is the last is known from the one before.
        chunks_left, last_chunk = Signal(8), Signal()
        # Channel chunk of the output: place in the word, plane of words, parameters.
        sub, first_sub = Signal(range(max(2, subs))), Signal(range(max(2, subs)))
        plane, first_plane = Signal(bits), Signal(bits)
        param, first_param = Signal(16), Signal(16)

        count = self.drains.p.count
        # With as many positions as pixels there is one turn.
        last_turn = Signal(init=1)
        if together < c.pixels:
            m.d.comb += last_turn.eq(
                # A number at a time: one table.
                Cat(
                    (count == pixels) & (pixel == c.drain_turns(pixels) - 1)
                    for pixels in range(1, c.pixels + 1)
                ).any()
            )
        active, last, next_word = Signal(), Signal(), Signal()
        next_sub, next_plane, next_param = Signal.like(sub), Signal(bits), Signal(16)
        m.d.comb += [
            last.eq(active & last_chunk & last_turn),
            self.drains.ready.eq(last),
            next_word.eq(sub == subs - 1),
            next_sub.eq(Mux(next_word, 0, incremented(sub))),
            next_plane.eq(Mux(next_word, plane + command.out_plane, plane)),
            next_param.eq(param + command.param_step),
            self.param_address.eq(param),
        ]
        # Only behind a filter group's last position do the channels go on after the last chunk.
        # What follows is known before it is known whether anything is drained.
        filter_last, restart = Signal(), Signal()
        m.d.comb += [
            filter_last.eq(last_turn & self.drains.p.filter_end),
            restart.eq(last_chunk & ~filter_last),
        ]
        # A chunk's turn is the cycle before it is taken, the first one before results appear: the
        # next results may follow as soon as the last chunk has been taken.
        m.d.sync += active.eq((active & ~last) | self.result_soon)
        with m.If(active):
            m.d.sync += chunk.eq(Mux(last_chunk, 0, incremented(chunk)))
            m.d.data += [
                chunks_left.eq(Mux(last_chunk, command.chunks, decremented(chunks_left))),
                last_chunk.eq(Mux(last_chunk, command.chunks == 1, chunks_left == 2)),
                sub.eq(Mux(restart, first_sub, next_sub)),
                plane.eq(Mux(restart, first_plane, next_plane)),
                param.eq(Mux(restart, first_param, next_param)),
            ]
        with m.If(active & last_chunk):
            m.d.sync += pixel.eq(Mux(last_turn, 0, incremented(pixel)))
        with m.If(active & last_chunk & filter_last):
            m.d.data += [
                first_sub.eq(next_sub),
                first_plane.eq(next_plane),
                first_param.eq(next_param),
            ]
        # The next command's fields are there before its first result is.
        command_end = Signal()
        m.d.comb += [
            command_end.eq(last & self.drains.p.end),
            self.commands.ready.eq(~have_command | command_end),
        ]
        with m.If(self.commands.valid & self.commands.ready):
            following = self.commands.payload
            m.d.sync += have_command.eq(1)
            m.d.data += [
                command.eq(following),
                chunks_left.eq(following.chunks),
                last_chunk.eq(following.chunks == 1),
                sub.eq(following.sub),
                first_sub.eq(following.sub),
                plane.eq(0),
                first_plane.eq(0),
                param.eq(following.param_base),
                first_param.eq(following.param_base),
            ]
        with m.Elif(command_end):
            m.d.sync += have_command.eq(0)

        terms = [
            self._terms(m, position, pixel, chunk, command.unit) for position in range(together)
        ]
        # The next command's may be others in the cycle after.
        most = max(map(len, terms))
        requantizers = [Requantizer(c, positions=together, terms=most) for _ in range(c.post_lanes)]
        limits_after = WideMemory.latency + requantizers[0].limits_after
        low_high = (command.low, command.high)
        limits = delayed(m, ("low", "high"), low_high, limits_after, domain="data")
        for index, requantizer in enumerate(requantizers):
            m.submodules[f"requantizer_{index}"] = requantizer
            m.d.comb += [
                requantizer.param.eq(self.param.word_select(index, param_layout(c).size)),
                requantizer.low.eq(limits[0]),
                requantizer.high.eq(limits[1]),
            ]
            for position, words in enumerate(terms):
                for number, word in enumerate(words):
                    term = requantizer.acc.word_select(position * most + number, c.acc_bits)
                    number_of_lane = word.word_select(index, len(word) // c.post_lanes)
                    m.d.comb += term.eq(_widen(number_of_lane, c.acc_bits))

        valid, addresses = [], []
        for first in range(together):
            outs = Array(self.drains.p.out[i] for i in range(first, c.pixels, together))
            address = Signal(bits, name=_numbered("address", first))
            m.d.comb += address.eq(outs[pixel] + plane)
            addresses.append(address)
            valid.append(active & (pixel * together + first < count) if first else active)

        # The write's address travels beside the data, two cycles ahead.
        cycles = drain_latency(c) - 1
        flags = (Cat(*valid), last, command_end)
        written, written_last, written_end = delayed(m, ("valid", "last", "end"), flags, cycles)
        where = (Cat(*addresses), sub)
        address, written_sub = delayed(m, ("address", "sub"), where, cycles, domain="data")
        m.d.comb += [
            self.write_valid.eq(written),
            self.write_address.eq(address),
            self.write_sub.eq(written_sub),
            self.write_data.eq(
                Cat(
                    requantizer.code.word_select(position, c.act_bits)
                    for position in range(together)
                    for requantizer in requantizers
                )
            ),
        ]
        done = delayed(m, ("last_written", "end_written"), (written_last, written_end), 3)
        m.d.comb += [self.group_done.eq(done[0]), self.command_done.eq(done[1])]
        return m

    def _terms(self, m: Module, position: int, turn, chunk, unit) -> list[Signal]:
        """Registers of which one has the turn's chunk of sums, and all others are zero."""
        c = self.config
        pixels = range(position, c.pixels, c.post_positions)
        taken, terms = drain_registers(c, len(pixels)), []
        for kind, (value, bits, channels) in {
            Unit.ARRAY: (self.acc, c.acc_bits, c.filters),
            Unit.SUM: (self.sum, c.acc_bits, c.lanes),
            Unit.MAX: (self.max, c.act_bits, c.lanes),
        }.items():
            chunks = channels // c.post_lanes
            # Bits beside each other choose with less logic than a number would; what they say
            # beyond the chunks and pixels that there are never counts.
            chunk_bits, turn_bits = (chunks - 1).bit_length(), (len(pixels) - 1).bit_length()
            index = Cat(chunk[:chunk_bits], turn[:turn_bits])
            words = {
                number << chunk_bits | part: value.word_select(
                    pixel * chunks + part, c.post_lanes * bits
                )
                for number, pixel in enumerate(pixels)
                for part in range(chunks)
            }
            size = taken[kind].size
            select_bits = (size - 1).bit_length()
            for first in range(0, max(words) + 1, size):
                there = [i for i in range(first, first + size) if i in words]
                if not there:
                    continue
                name = _numbered(f"{kind.name.lower()}_{len(terms)}", position)
                term = Signal(c.post_lanes * bits, name=name)
                chosen = words[first]
                if size > 1:
                    select = Signal(select_bits, name=f"select_{name}")
                    m.d.data += select.eq(index[:select_bits])
                    chosen = Array(words.get(first + i, words[there[-1]]) for i in range(size))[
                        select
                    ]
                # Cleared by the registers' resets, which take no tables.
                clear = Signal(name=f"clear_{name}")
                m.d.data += [
                    clear.eq((unit != kind) | (index[select_bits:] != first >> select_bits)),
                    term.eq(chosen),
                ]
                with m.If(clear):
                    m.d.data += term.eq(0)
                terms.append(term)
        return terms


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


def _widen(code, width: int):
    """The signed code in ``width`` bits."""
    return Cat(code, code[-1].replicate(width - len(code)))
