"""Fetches descriptors, checks them and hands them to the engines' queues."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.causes import CommandFault
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import BODIES, CHECKSUM, DESCRIPTOR_BYTES, HEAD, Opcode
from hw.contract.timing import CHECKSUM_WORDS, DESCRIPTORS_AHEAD, sum_stages
from hw.rtl.axi.bursts import request_layout
from hw.rtl.axi.read_dma import read_data_layout
from hw.rtl.cells.counting import stepped
from hw.rtl.cells.delay import delayed
from hw.rtl.cells.total import Total
from hw.rtl.component import Component
from hw.rtl.control.transfer import LENGTH_BITS
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.gearbox import Packer

__all__ = ["ENGINES", "CommandFetch", "queued_layout"]

#: Bit i of a vector with one bit for each engine belongs to ``ENGINES[i]``.
ENGINES = (Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE)


def queued_layout(opcode: Opcode) -> data.StructLayout:
    """A command in an engine's queue: head and body of its descriptor."""
    return data.StructLayout({
        "head": data.StructLayout(HEAD),
        "body": data.StructLayout(BODIES[opcode]),
    })  # fmt: skip


def _sum(m: Module, name: str, words: list[Value]) -> Value:
    """The words' sum, modulo ``2**32``."""
    if len(words) < 3:
        return sum(words)
    total = Total(width=32)
    m.submodules[name] = total
    m.d.comb += [term.eq(word) for term, word in zip(total.terms, words, strict=False)]
    return sum(words[3:], total.total)


class CommandFetch(Component):
    """Fetches one descriptor after the other, from ``start`` to an END or a fault.

    It requests the next descriptor while the one before waits for room in its queue.

    Members
    -------
    start : ``In(1)``, ``base`` : ``In``, ``length`` : ``In(16)``, descriptors of the program
    request, data
        To and from the reader.
    load, compute, store : ``Out(stream.Signature(queued_layout(opcode)))``, one valid at a time
    end : ``Out(1)``, an END was fetched
    fault : ``Out(CommandFault)``, high for one cycle
    index : ``Out(16)``, the descriptor last handed on or found faulty
    busy : ``Out(1)``, something that was requested has not arrived
    """

    config_fields = ("axi_address_width", "axi_data_width", "axi_ports")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "start": In(1),
            "base": In(c.axi_address_width),
            "length": In(16),
            "request": Out(stream.Signature(request_layout(c.axi_address_width, LENGTH_BITS))),
            "data": In(stream.Signature(read_data_layout(c.axi_beat_bits))),
            "load": Out(stream.Signature(queued_layout(Opcode.LOAD))),
            "compute": Out(stream.Signature(queued_layout(Opcode.COMPUTE))),
            "store": Out(stream.Signature(queued_layout(Opcode.STORE))),
            "end": Out(1),
            "fault": Out(CommandFault),
            "index": Out(16),
            "busy": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        beats = DESCRIPTOR_BYTES * 8 // c.axi_beat_bits
        # There is room for all that was requested. Otherwise a descriptor that waits for its queue
        # would hold up the beats of loads, and the queue may be waiting for those.
        buffer = StreamFifo(c.axi_beat_bits, max(3, DESCRIPTORS_AHEAD * beats))
        packer = Packer(c.axi_beat_bits, beats)
        m.submodules.buffer, m.submodules.packer = buffer, packer
        wiring.connect(m, buffer.o, packer.i)
        m.d.comb += [
            buffer.i.payload.eq(self.data.p.data),
            buffer.i.valid.eq(self.data.valid),
            self.data.ready.eq(buffer.i.ready),
        ]
        state = _State()
        self._ask(m, state, beats)
        self._add_up(m, state, packer.i, beats)
        self._hand_on(m, state, packer.o)
        with m.If(self.start):
            m.d.sync += [
                state.fetching.eq(1),
                state.unrequested.eq(self.length),
                state.handed.eq(0),
                state.unhanded.eq(self.length),
            ]
            m.d.data += self.request.p.address.eq(self.base)
        return m

    def _ask(self, m: Module, s: "_State", beats: int) -> None:
        """Requests every descriptor; up to ``DESCRIPTORS_AHEAD`` of them are not yet taken.

        One cycle adds the lower half of an address, the next one its carry to the upper half.
        """
        half = self.config.axi_address_width // 2
        address = self.request.p.address
        asked = Signal()
        carry = Signal()
        m.d.comb += [
            self.request.p.beats.eq(beats),
            asked.eq(self.request.valid & self.request.ready),
        ]
        m.d.sync += [s.ahead.eq(stepped(s.ahead, asked, s.taken)), carry.eq(0)]
        with m.If(asked):
            total = address[:half] + DESCRIPTOR_BYTES // self.config.axi_ports
            m.d.data += address[:half].eq(total)
            m.d.sync += [
                carry.eq(total[half]),
                s.unrequested.eq(s.unrequested - 1),
                self.request.valid.eq(0),
            ]
        # A request never follows another in the next cycle: that one adds the carry.
        with m.Elif(s.fetching & (s.ahead != DESCRIPTORS_AHEAD) & (s.unrequested != 0)):
            m.d.sync += self.request.valid.eq(1)
        with m.If(carry):
            m.d.data += address[half:].eq(address[half:] + 1)

    def _add_up(self, m: Module, s: "_State", beat: wiring.PureInterface, beats: int) -> None:
        """Adds up a descriptor's 32-bit words, beat by beat."""
        count = Signal(range(max(2, beats)))
        layout = data.ArrayLayout(32, self.config.axi_beat_bits // 32)
        view = data.View(layout, beat.payload)
        words: list[Value] = [view[i] for i in range(layout.length)]
        for stage in range(sum_stages(layout.length)):
            sums = []
            for index, first in enumerate(range(0, len(words), CHECKSUM_WORDS)):
                summed = Signal(32, name=f"summed_{stage}_{index}")
                some = words[first : first + CHECKSUM_WORDS]
                m.d.data += summed.eq(_sum(m, f"sum_{stage}_{index}", some))
                sums.append(summed)
            words = sums
        (beat_sum,) = words
        accepted = Signal()
        m.d.comb += accepted.eq(beat.valid & beat.ready)
        names, flags = ("beat_taken", "beat_first"), (accepted, count == 0)
        beat_taken, beat_first = delayed(m, names, flags, sum_stages(layout.length))
        with m.If(accepted):
            m.d.sync += count.eq(Mux(count == beats - 1, 0, count + 1))
        with m.If(beat_taken):
            m.d.data += s.total.eq(Mux(beat_first, beat_sum, s.total + beat_sum))

    def _hand_on(self, m: Module, s: "_State", descriptor: wiring.PureInterface) -> None:
        """Checks a descriptor and offers it to its queue.

        The sum is complete one cycle after the packer's word, plus a cycle for each further stage.
        """
        head = data.View(data.StructLayout(HEAD), descriptor.payload[: sum(HEAD.values())])
        for opcode, queue in self._queues().items():
            m.d.comb += queue.payload.eq(descriptor.payload[: queued_layout(opcode).size])
        m.d.comb += [
            self.index.eq(s.handed),
            self.busy.eq(s.fetching | (s.ahead != 0)),
        ]
        stages = sum_stages(self.config.axi_beat_bits // 32)
        with m.FSM():
            names = [*(f"SUM {stage}" for stage in range(1, stages)), "CHECK"]
            with m.State("WAIT"), m.If(descriptor.valid & s.fetching):
                m.next = names[0]
            for name, following in pairwise(names):
                with m.State(name):
                    m.next = following
            with m.State("CHECK"):
                right = s.total == CHECKSUM
                m.next = "HAND ON"
                is_opcode = [head.opcode == opcode for opcode in Opcode]
                m.d.sync += s.offers.eq(Cat(right & matches for matches in is_opcode))
                m.d.data += s.last.eq(s.unhanded == 1)
                with m.If(~right):
                    m.d.sync += self.fault.eq(CommandFault.CHECKSUM)
                    m.next = "STOP"
            with m.State("HAND ON"):
                self._offer(m, s)
            with m.State("STOP"):
                # Descriptors that were requested beyond the end arrive and are dropped. A request
                # that is offered stays until it is taken.
                m.d.sync += self.fault.eq(CommandFault.NONE)
                with m.If(~self.request.valid | self.request.ready):
                    m.d.sync += [s.fetching.eq(0), self.request.valid.eq(0)]
                m.d.sync += s.drops.eq(1)
                with m.If(~s.fetching & (s.ahead == 0)):
                    m.d.sync += s.drops.eq(0)
                    m.next = "WAIT"
        # What is behind is found from few registers: it moves descriptors and beats.
        queues = self._queues()
        handed = [queue.valid & queue.ready for queue in queues.values()]
        m.d.comb += [
            *(queue.valid.eq(s.offer(opcode)) for opcode, queue in queues.items()),
            s.handed_on.eq(Cat(*handed).any()),
            s.taken.eq(s.handed_on | s.offer(Opcode.END) | (s.drops & descriptor.valid)),
            descriptor.ready.eq(s.taken),
        ]
        with m.If(s.handed_on | s.offer(Opcode.END)):
            m.d.sync += s.offers.eq(0)

    def _queues(self) -> dict[Opcode, wiring.PureInterface]:
        return {Opcode.LOAD: self.load, Opcode.COMPUTE: self.compute, Opcode.STORE: self.store}

    def _offer(self, m: Module, s: "_State") -> None:
        """Handles a descriptor whose sum is right: a command, an END, or an unknown opcode."""
        with m.If(s.handed_on):
            m.next = "WAIT"
            m.d.sync += [s.handed.eq(s.handed + 1), s.unhanded.eq(s.unhanded - 1)]
            with m.If(s.last):
                m.d.sync += self.fault.eq(CommandFault.LENGTH)
                m.next = "STOP"
        with m.If(s.offer(Opcode.END)):
            m.d.comb += self.end.eq(1)
            m.next = "STOP"
        with m.If(~s.offers.any()):
            m.d.sync += self.fault.eq(CommandFault.OPCODE)
            m.next = "STOP"


class _State:
    """The fetch unit's registers."""

    def __init__(self) -> None:
        #: High from the start to an END or a fault.
        self.fetching = Signal()
        #: Descriptors that are not requested yet; those that are requested and not yet taken.
        self.unrequested = Signal(16)
        self.ahead = Signal(range(DESCRIPTORS_AHEAD + 1))
        #: The sum of the words so far.
        self.total = Signal(32)
        #: Descriptors that were handed on, and those that were not.
        self.handed = Signal(16)
        self.unhanded = Signal(16)
        #: The descriptor in hand is the program's last one.
        self.last = Signal()
        #: The descriptor in hand is right and has this opcode.
        self.offers = Signal(len(Opcode))
        #: Descriptors are dropped.
        self.drops = Signal()
        # These are no registers.
        #: The descriptor in hand goes to its queue, or leaves in any way.
        self.handed_on = Signal()
        self.taken = Signal()

    def offer(self, opcode: Opcode) -> Value:
        """Whether the descriptor in hand has this opcode."""
        return self.offers[list(Opcode).index(opcode)]
