"""Takes finished outputs out of the array, requantizes them and writes them to memory."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import AcceleratorConfig
from hw.control.sequencer import drain_layout
from hw.counting import decremented, incremented
from hw.delay import delayed
from hw.isa import Unit, drain_command_layout
from hw.memory.activations import activation_address_bits
from hw.memory.wide import WideMemory
from hw.post.requantizer import Requantizer, param_layout
from hw.verilog import submodule

__all__ = ["Drain"]


class Drain(wiring.Component):
    """Results of a group into the memory: of ``post_positions`` positions, ``post_lanes`` channels.

    So much in each cycle; a group occupies it for a cycle for each chunk of channels and each turn
    of positions, the last of which may have fewer. The sequencer keeps groups that far apart. The
    words of a turn are in different banks. Latency ``self.latency`` cycles from a chunk's turn to
    its write. Results of the maximum unit pass through the same requantizers, with parameters that
    change nothing. One command's first group may follow the last of the one before without a gap.

    Members
    -------
    commands : ``In(stream.Signature(drain_command_layout()))``, each at least two cycles before its
        first result
    drains : ``In(stream.Signature(drain_layout(config)))``, in the order of the results
    acc, acc_valid : from the array
    max, max_valid : from the maximum unit
    sum, sum_valid : from the channel-wise sums
    param_address : ``Out(16)``, ``param`` : ``In(post_lanes * parameter bits)``
    write_valid : ``Out(post_positions)``, ``write_address``, ``write_data`` : ``Out``, as many
        beside each other, ``write_sub`` : ``Out``, of all of them; to the activation memory
    group_done, command_done : ``Out(1)``, a group's last write, and a command's, was made in the
        cycle before
    """

    latency = WideMemory.latency + Requantizer.latency

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "commands": In(stream.Signature(drain_command_layout())),
            "drains": In(stream.Signature(drain_layout(c))),
            "acc": In(c.pixels * c.filters * c.acc_bits),
            "acc_valid": In(1),
            "max": In(c.pixels * c.act_word_bits),
            "max_valid": In(1),
            "sum": In(c.pixels * c.lanes * c.acc_bits),
            "sum_valid": In(1),
            "param_address": Out(16),
            "param": In(c.post_lanes * param_layout(c).size),
            "write_valid": Out(c.post_positions),
            "write_address": Out(c.post_positions * activation_address_bits(c)),
            "write_sub": Out(range(max(2, c.lanes // c.post_lanes))),
            "write_data": Out(c.post_positions * c.post_lanes * c.act_bits),
            "group_done": Out(1),
            "command_done": Out(1),
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        c = self.config
        return (
            f"nbqnn_drain_{c.requant}_l{c.lanes}_f{c.filters}_p{c.pixels}_r{c.post_lanes}"
            f"_a{c.act_bits}_s{c.acc_bits}_d{c.act_depth}{_positions(c)}"
        )

    def elaborate(self, platform):
        m = Module()
        c = self.config
        bits = activation_address_bits(c)
        subs = c.lanes // c.post_lanes

        together = c.post_positions

        command = Signal(drain_command_layout())
        have_command = Signal()
        draining = Signal()
        # In turns: the first pixel that is drained is `together` times as many.
        pixel = Signal(range(max(2, c.drain_turns(c.pixels))))
        chunk = Signal(8)
        # This one included; whether it is the last is known from the one before.
        chunks_left, last_chunk = Signal(8), Signal()
        # Channel chunk of the output: place in the word, plane of words, parameters.
        sub, first_sub = Signal(8), Signal(8)
        plane, first_plane = Signal(bits), Signal(bits)
        param, first_param = Signal(16), Signal(16)

        count = self.drains.p.count
        last_turn = Signal()
        m.d.comb += last_turn.eq(
            # A number at a time: one table.
            Cat(
                (count == pixels) & (pixel == c.drain_turns(pixels) - 1)
                for pixels in range(1, c.pixels + 1)
            ).any()
        )
        active, last, next_word = Signal(), Signal(), Signal()
        next_sub, next_plane, next_param = Signal(8), Signal(bits), Signal(16)
        m.d.comb += [
            # Results are taken from the cycle on in which they appear: the next ones may follow
            # as soon as the last chunk has been taken.
            active.eq(draining | self.acc_valid | self.max_valid | self.sum_valid),
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
        with m.If(active):
            m.d.sync += [
                draining.eq(~(last_chunk & last_turn)),
                chunk.eq(Mux(last_chunk, 0, incremented(chunk))),
                chunks_left.eq(Mux(last_chunk, command.chunks, decremented(chunks_left))),
                last_chunk.eq(Mux(last_chunk, command.chunks == 1, chunks_left == 2)),
                sub.eq(Mux(restart, first_sub, next_sub)),
                plane.eq(Mux(restart, first_plane, next_plane)),
                param.eq(Mux(restart, first_param, next_param)),
            ]
        with m.If(active & last_chunk):
            m.d.sync += pixel.eq(Mux(last_turn, 0, incremented(pixel)))
        with m.If(active & last_chunk & filter_last):
            m.d.sync += [
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
            m.d.sync += [
                have_command.eq(1),
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

        unit = Signal(Unit, reset_less=True)
        m.d.sync += unit.eq(command.unit)
        selected = [
            self._selected(m, range(first, c.pixels, together), pixel, chunk, unit)
            for first in range(together)
        ]

        # The next command's may be others in the cycle after.
        limits_after = WideMemory.latency + Requantizer.limits_after
        limits = delayed(m, ("low", "high"), (command.low, command.high), limits_after)
        codes = []
        for acc in (
            sums.word_select(i, c.acc_bits) for sums in selected for i in range(c.post_lanes)
        ):
            requantizer = Requantizer(c)
            m.submodules[f"requantizer_{len(codes)}"] = submodule(platform, requantizer)
            lane = len(codes) % c.post_lanes
            m.d.comb += [
                requantizer.acc.eq(acc),
                requantizer.param.eq(self.param.word_select(lane, param_layout(c).size)),
                requantizer.low.eq(limits[0]),
                requantizer.high.eq(limits[1]),
            ]
            codes.append(requantizer.code)

        valid, addresses = [], []
        for first in range(together):
            outs = Array(self.drains.p.out[i] for i in range(first, c.pixels, together))
            address = Signal(bits, name=_numbered("address", first))
            m.d.comb += address.eq(outs[pixel] + plane)
            addresses.append(address)
            valid.append(active & (pixel * together + first < count) if first else active)

        # The write's address travels beside the data.
        names = ("valid", "address", "sub", "last", "end")
        travelling = (Cat(*valid), Cat(*addresses), sub, last, command_end)
        written = delayed(m, names, travelling, self.latency)
        m.d.comb += [
            self.write_valid.eq(written[0]),
            self.write_address.eq(written[1]),
            self.write_sub.eq(written[2]),
            self.write_data.eq(Cat(*codes)),
        ]
        m.d.sync += [
            self.group_done.eq(written[0][0] & written[3]),
            self.command_done.eq(written[0][0] & written[4]),
        ]
        return m

    def _selected(self, m: Module, pixels: range, turn, chunk, unit) -> Signal:
        """A chunk of sums of one of these pixels: first of each unit, a cycle later of the one."""
        first = pixels[0]
        c = self.config
        subs = c.lanes // c.post_lanes
        acc_bits = c.post_lanes * c.acc_bits
        max_bits = c.post_lanes * c.act_bits
        acc_chunks = c.filters // c.post_lanes

        def chosen(value, width: int, chunks: int):
            # Bits beside each other choose with less logic than a number would; what they say
            # beyond the chunks and pixels that there are never counts.
            chunk_bits, turn_bits = (chunks - 1).bit_length(), (len(pixels) - 1).bit_length()
            words = Array(
                value.word_select(p * chunks + min(i, chunks - 1), width)
                for p in pixels
                for i in range(1 << chunk_bits)
            )
            return words[Cat(chunk[:chunk_bits], turn[:turn_bits])]

        acc = Signal(acc_bits, name=_numbered("acc", first), reset_less=True)
        maximum = Signal(max_bits, name=_numbered("maximum", first), reset_less=True)
        channel_sum = Signal(acc_bits, name=_numbered("channel_sum", first), reset_less=True)
        m.d.sync += [
            acc.eq(chosen(self.acc, acc_bits, acc_chunks)),
            maximum.eq(chosen(self.max, max_bits, subs)),
            channel_sum.eq(chosen(self.sum, acc_bits, subs)),
        ]
        selected = Signal(acc_bits, name=_numbered("selected", first), reset_less=True)
        widened = Cat(
            _widen(maximum.word_select(i, c.act_bits), c.acc_bits) for i in range(c.post_lanes)
        )
        with m.Switch(unit):
            with m.Case(Unit.ARRAY):
                m.d.sync += selected.eq(acc)
            with m.Case(Unit.MAX):
                m.d.sync += selected.eq(widened)
            with m.Default():
                m.d.sync += selected.eq(channel_sum)
        return selected


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _positions(config: AcceleratorConfig) -> str:
    """What tells modules apart that write several positions at once."""
    return f"_x{config.post_positions}" if config.post_positions > 1 else ""


def _widen(code, width: int):
    """The signed code in ``width`` bits."""
    return Cat(code, code[-1].replicate(width - len(code)))
