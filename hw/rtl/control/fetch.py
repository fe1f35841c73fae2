"""Fetches descriptors, checks them and hands them to the engines' queues."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal, Value
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

#: Engines in the order in which vectors of them are laid out.
ENGINES = (Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE)


def queued_layout(opcode: Opcode) -> data.StructLayout:
    """Head and body as they wait in an engine's queue."""
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
    """One descriptor after the other, from ``start`` to an END or a fault.

    The next descriptor is requested while the one before waits for its queue.

    Members
    -------
    start : ``In(1)``, ``base`` : ``In``, ``length`` : ``In(16)``, descriptors of the program
    request, data : to and from the reader
    load, compute, store : ``Out(stream.Signature(queued_layout(opcode)))``, one valid at a time
    end : ``Out(1)``, an END was fetched
    fault : ``Out(CommandFault)``, high for one cycle
    index : ``Out(16)``, the descriptor last handed on or found faulty
    busy : ``Out(1)``, something that was asked for has not arrived
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
        # Room for all that is asked for: a descriptor that waits for its queue must not hold up
        # the loads behind it, which may be what the queue is waiting for.
        buffer = StreamFifo(c.axi_beat_bits, max(3, DESCRIPTORS_AHEAD * beats))
        m.submodules.buffer = buffer
        packer = Packer(c.axi_beat_bits, beats)
        m.submodules.packer = packer

        # Request: as many as there are descriptors, one ahead of the one in hand.
        unrequested = Signal(16)
        fetching = Signal()
        ahead = Signal(range(DESCRIPTORS_AHEAD + 1))
        taken = Signal()
        asked = Signal()
        # Half an address is added in one cycle, the carry to the other half in the next.
        half = c.axi_address_width // 2
        address = self.request.p.address
        carry = Signal()
        m.d.comb += [
            self.request.p.beats.eq(beats),
            asked.eq(self.request.valid & self.request.ready),
        ]
        m.d.sync += [
            ahead.eq(stepped(ahead, asked, taken)),
            carry.eq(0),
        ]
        with m.If(asked):
            m.d.sync += [
                Cat(address[:half], carry).eq(address[:half] + DESCRIPTOR_BYTES // c.axi_ports),
                unrequested.eq(unrequested - 1),
                self.request.valid.eq(0),
            ]
        # No request follows another in the next cycle: `carry` comes first.
        with m.Elif(fetching & (ahead != DESCRIPTORS_AHEAD) & (unrequested != 0)):
            m.d.sync += self.request.valid.eq(1)
        with m.If(carry):
            m.d.sync += address[half:].eq(address[half:] + 1)

        # Receive: sum up 32-bit words beat by beat.
        total = Signal(32)
        count = Signal(range(max(2, beats)))
        words = [buffer.o.payload.word_select(i, 32) for i in range(c.axi_beat_bits // 32)]
        stages = sum_stages(len(words))
        for stage in range(stages):
            sums = []
            for index, first in enumerate(range(0, len(words), CHECKSUM_WORDS)):
                summed = Signal(32, name=f"summed_{stage}_{index}")
                m.d.data += summed.eq(
                    _sum(m, f"sum_{stage}_{index}", words[first : first + CHECKSUM_WORDS])
                )
                sums.append(summed)
            words = sums
        (beat_sum,) = words
        m.d.comb += [
            buffer.i.payload.eq(self.data.p.data),
            buffer.i.valid.eq(self.data.valid),
            self.data.ready.eq(buffer.i.ready),
        ]
        wiring.connect(m, buffer.o, packer.i)
        accepted = Signal()
        m.d.comb += accepted.eq(packer.i.valid & packer.i.ready)
        beat_taken, beat_first = delayed(
            m, ("beat_taken", "beat_first"), (accepted, count == 0), stages
        )
        with m.If(accepted):
            with m.If(count == beats - 1):
                m.d.sync += count.eq(0)
            with m.Else():
                m.d.sync += count.eq(count + 1)
        with m.If(beat_taken):
            with m.If(beat_first):
                m.d.data += total.eq(beat_sum)
            with m.Else():
                m.d.data += total.eq(total + beat_sum)

        # Hand on. The sum is complete a cycle after the packer's word, or later by further stages.
        head = data.View(data.StructLayout(HEAD), packer.o.payload[: sum(HEAD.values())])
        streams = {Opcode.LOAD: self.load, Opcode.COMPUTE: self.compute, Opcode.STORE: self.store}
        for opcode, queue in streams.items():
            m.d.comb += queue.payload.eq(packer.o.payload[: queued_layout(opcode).size])
        handed, unhanded = Signal(16), Signal(16)
        last = Signal()
        # The descriptor's opcode, decoded while its sum is compared.
        is_opcode = Signal(len(Opcode))
        m.d.comb += [self.index.eq(handed), self.busy.eq(fetching | (ahead != 0))]
        with m.FSM():
            names = [*(f"SUM {stage}" for stage in range(1, stages)), "CHECK"]
            with m.State("WAIT"), m.If(packer.o.valid & fetching):
                m.next = names[0]
            for name, following in pairwise(names):
                with m.State(name):
                    m.next = following
            with m.State("CHECK"):
                m.next = "HAND ON"
                m.d.data += [
                    is_opcode.eq(Cat(head.opcode == opcode for opcode in Opcode)),
                    last.eq(unhanded == 1),
                ]
                with m.If(total != CHECKSUM):
                    m.d.sync += self.fault.eq(CommandFault.CHECKSUM)
                    m.next = "STOP"
            with m.State("HAND ON"):
                for opcode, matches in zip(Opcode, is_opcode, strict=True):
                    if opcode is Opcode.END:
                        with m.If(matches):
                            m.d.comb += [self.end.eq(1), taken.eq(1)]
                            m.next = "STOP"
                        continue
                    queue = streams[opcode]
                    with m.If(matches):
                        m.d.comb += [queue.valid.eq(1), taken.eq(queue.ready)]
                        with m.If(queue.ready):
                            m.next = "WAIT"
                            m.d.sync += [handed.eq(handed + 1), unhanded.eq(unhanded - 1)]
                            with m.If(last):
                                m.d.sync += self.fault.eq(CommandFault.LENGTH)
                                m.next = "STOP"
                with m.If(~is_opcode.any()):
                    m.d.sync += self.fault.eq(CommandFault.OPCODE)
                    m.next = "STOP"
                m.d.comb += packer.o.ready.eq(taken)
            with m.State("STOP"):
                # What was asked for beyond the end arrives and is dropped; an offered request
                # stands until it is taken.
                m.d.sync += self.fault.eq(CommandFault.NONE)
                with m.If(~self.request.valid | self.request.ready):
                    m.d.sync += [fetching.eq(0), self.request.valid.eq(0)]
                m.d.comb += [packer.o.ready.eq(1), taken.eq(packer.o.valid)]
                with m.If(~fetching & (ahead == 0)):
                    m.next = "WAIT"

        with m.If(self.start):
            m.d.sync += [
                fetching.eq(1),
                unrequested.eq(self.length),
                handed.eq(0),
                unhanded.eq(self.length),
                self.request.p.address.eq(self.base),
            ]
        return m
