"""The load and store engines move rows of words between the host's memory and the chip."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Memory, Opcode, Region
from hw.contract.timing import STORE_AHEAD
from hw.contract.words import memories, table_word_bits, word_beats
from hw.rtl.axi.bursts import request_layout
from hw.rtl.axi.read_dma import read_data_layout
from hw.rtl.cells.counting import stepped
from hw.rtl.command_layouts import body_layout
from hw.rtl.component import Component
from hw.rtl.memory.activations import ActivationMemory
from hw.rtl.memory.ports import (
    ActLoadSignature,
    ActStoreSignature,
    WideWriteSignature,
    bank_number,
)
from hw.rtl.post.requantizer import param_layout
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.gearbox import Packer, Unpacker
from hw.rtl.stream.skid import SkidBuffer

__all__ = [
    "LENGTH_BITS",
    "LoadEngine",
    "RowRequester",
    "StoreEngine",
    "bases_layout",
]

#: Bits of the number of beats of a row.
LENGTH_BITS = 16


def bases_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """Address of each :class:`hw.contract.isa.Region` in the first port's stripe."""
    return data.ArrayLayout(config.axi_address_width, len(Region))


class RowRequester(Component):
    """Makes one request for each row of a transfer.

    Row r is at the region's base plus the command's offset plus r strides. The first request is
    there three cycles after ``start``, each further one two cycles after the one before was taken.

    Members
    -------
    start : ``In(1)``, ``command`` : ``In(body_layout(Opcode.LOAD))``, which must stay as it is
    bases : ``In(bases_layout(config))``
    request : ``Out(stream.Signature(request_layout(...)))``
    """

    config_fields = ("axi_address_width",)

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        width = config.axi_address_width
        super().__init__({
            "start": In(1),
            "command": In(body_layout(Opcode.LOAD)),
            "bases": In(bases_layout(config)),
            "request": Out(stream.Signature(request_layout(width, LENGTH_BITS))),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        width = self.config.axi_address_width
        # One cycle adds the lower half of an address, the next one the upper half and the carry.
        half = width // 2
        low, high = self.request.p.address[:half], self.request.p.address[half:]
        addend = Signal(width)
        carry = Signal()
        rows = Signal(16)
        last = Signal()
        starting = Signal()
        carrying = Signal()
        taken = Signal()
        bases = Array(self.bases[region] for region in Region)
        m.d.comb += [
            self.request.p.beats.eq(self.command.beats),
            taken.eq(self.request.valid & self.request.ready),
        ]
        m.d.sync += [starting.eq(self.start), carrying.eq(starting | (taken & ~last))]
        with m.If(self.start):
            m.d.data += [
                rows.eq(self.command.rows),
                self.request.p.address.eq(self.command.offset),
                addend.eq(bases[self.command.region[: len(Region).bit_length()]]),
            ]
        with m.If(starting | taken):
            m.d.data += Cat(low, carry).eq(low + addend[:half])
        with m.If(carrying):
            m.d.sync += self.request.valid.eq(1)
            m.d.data += [
                # The additional lowest bits bring the carry into the sum.
                high.eq((Cat(1, high) + Cat(carry, addend[half:]))[1:]),
                addend.eq(self.command.offset_stride),
                last.eq(rows == 1),
            ]
        with m.If(taken):
            m.d.data += rows.eq(rows - 1)
            m.d.sync += self.request.valid.eq(0)
        return m


class _TransferEngine(Component):
    """What both engines do: take a command, request its rows, count its words."""

    def _accept(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Takes commands one at a time and requests their rows.

        Returns the command, whether it is running, and a strobe in its first cycle. The caller ends
        a command by lowering ``running``.
        """
        requester = RowRequester(self.config)
        m.submodules.requester = requester
        wiring.connect(m, requester.request, wiring.flipped(self.request))
        command = Signal(body_layout(Opcode.LOAD))
        running = Signal()
        start = Signal()
        m.d.comb += [
            self.command.ready.eq(~running),
            self.busy.eq(running),
            requester.bases.eq(self.bases),
            requester.start.eq(start),
            requester.command.eq(command),
        ]
        m.d.sync += start.eq(self.command.valid & ~running)
        with m.If(self.command.valid & ~running):
            m.d.sync += running.eq(1)
            m.d.data += command.eq(self.command.payload)
        return command, running, start

    def _walk(self, m: Module, command, start, step) -> tuple[Signal, Signal, Signal, Value]:
        """Walks over the words of a command's rows, one for each ``step``.

        Returns the next word's address, its bank in the activation memory, whether there is one,
        and whether it is the last one.
        """
        address = Signal(16)
        bank = Signal(range(max(2, self.config.banks)))
        row_address = Signal(16)
        words = Signal(16)
        rows = Signal(16)
        # They are computed one word ahead, so that no comparison is in the path of ``step``.
        last_word = Signal()
        last_row = Signal()
        more = Signal()
        next_row = Signal(16)
        m.d.comb += next_row.eq(row_address + command.base_stride)

        def goes_to(word: Value) -> list:
            return [address.eq(word), bank.eq(bank_number(self.config, word))]

        with m.If(step):
            m.d.data += [
                *goes_to(address + 1),
                words.eq(words - 1),
                last_word.eq(words == 2),
            ]
            with m.If(last_word):
                m.d.data += [
                    *goes_to(next_row),
                    row_address.eq(next_row),
                    words.eq(command.words),
                    last_word.eq(command.words == 1),
                    rows.eq(rows - 1),
                    last_row.eq(rows == 2),
                ]
                m.d.sync += more.eq(~last_row)
        with m.If(start):
            m.d.sync += more.eq(1)
            m.d.data += [
                *goes_to(command.base),
                row_address.eq(command.base),
                words.eq(command.words),
                last_word.eq(command.words == 1),
                rows.eq(command.rows),
                last_row.eq(command.rows == 1),
            ]
        return address, bank, more, last_word & last_row


class LoadEngine(_TransferEngine):
    """Fills the on-chip memories with one beat per cycle, so one word in ``word_beats`` cycles.

    Members
    -------
    command : ``In(stream.Signature(body_layout(Opcode.LOAD)))``
    done : ``Out(1)``, all words are written
    busy : ``Out(1)``
    bases : ``In(bases_layout(config))``, as for :class:`RowRequester`
    request, data : to and from the reader
    act : ``Out(ActLoadSignature(config))``
    weight, param : ``Out(WideWriteSignature(...))``, of a word of either memory
    table : ``Out(WideWriteSignature(...))``, likewise, where the configuration has tables
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "command": In(stream.Signature(body_layout(Opcode.LOAD))),
            "done": Out(1),
            "busy": Out(1),
            "bases": In(bases_layout(c)),
            "request": Out(stream.Signature(request_layout(c.axi_address_width, LENGTH_BITS))),
            "data": In(stream.Signature(read_data_layout(c.axi_beat_bits))),
            "act": Out(ActLoadSignature(c)),
            "weight": Out(WideWriteSignature(c.weight_word_bits)),
            "param": Out(WideWriteSignature(c.post_lanes * param_layout(c).size)),
            **(
                {"table": Out(WideWriteSignature(table_word_bits(c)))} if c.tables else {}
            ),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        command, running, start = self._accept(m)
        written = Signal()
        address, bank, _, last = self._walk(m, command, start, written)
        m.d.comb += self.act.bank.eq(bank)
        m.d.sync += self.done.eq(written & last)
        with m.If(self.done):
            m.d.sync += running.eq(0)

        # Whether a beat is taken depends on the memories. The register keeps that from the reader.
        skid = SkidBuffer(c.axi_beat_bits)
        m.submodules.skid = skid
        m.d.comb += [
            skid.i.payload.eq(self.data.p.data),
            skid.i.valid.eq(self.data.valid),
            self.data.ready.eq(skid.i.ready),
        ]
        fills = Signal(len(Memory))
        m.d.sync += fills.eq(Mux(running & ~self.done, 1 << command.memory[:2], 0))

        for memory in memories(c):
            port = getattr(self, memory.name.lower())
            waits = memory is Memory.ACT
            port_valid, port_ready = (port.valid, port.ready) if waits else (port.enable, 1)
            packer = Packer(c.axi_beat_bits, word_beats(c, memory))
            m.submodules[f"packer_{memory.name.lower()}"] = packer
            m.d.comb += [
                packer.i.payload.eq(skid.o.payload),
                Value.cast(port.data).eq(packer.o.payload),
                port.address.eq(address),
                port_valid.eq(packer.o.valid),
                packer.o.ready.eq(port_ready),
            ]
            # All words of a command have left before the next command's beats arrive.
            with m.If(fills[memory]):
                m.d.comb += [
                    packer.i.valid.eq(skid.o.valid),
                    skid.o.ready.eq(packer.i.ready),
                    written.eq(packer.o.valid & port_ready),
                ]
        return m


class StoreEngine(_TransferEngine):
    """Writes activation words to the host's memory, one beat per cycle.

    Members
    -------
    command : ``In(stream.Signature(body_layout(Opcode.STORE)))``
    done : ``Out(1)``, all responses have come
    busy : ``Out(1)``
    bases : ``In(bases_layout(config))``, as for :class:`RowRequester`
    request, data, request_done : to and from the writer
    act : ``Out(ActStoreSignature(config))``
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        c = config
        super().__init__({
            "command": In(stream.Signature(body_layout(Opcode.STORE))),
            "done": Out(1),
            "busy": Out(1),
            "bases": In(bases_layout(c)),
            "request": Out(stream.Signature(request_layout(c.axi_address_width, LENGTH_BITS))),
            "data": Out(stream.Signature(c.axi_beat_bits)),
            "request_done": In(1),
            "act": Out(ActStoreSignature(c)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        command, running, start = self._accept(m)

        # The memory is read ahead of the writer as far as this buffer has room.
        buffer = StreamFifo(c.act_word_bits, STORE_AHEAD)
        m.submodules.buffer = buffer
        unpacker = Unpacker(c.axi_beat_bits, word_beats(c, Memory.ACT))
        m.submodules.unpacker = unpacker
        m.d.comb += [
            unpacker.i.payload.eq(buffer.o.payload),
            unpacker.i.valid.eq(buffer.o.valid),
            buffer.o.ready.eq(unpacker.i.ready),
        ]
        wiring.connect(m, unpacker.o, wiring.flipped(self.data))

        room = Signal(range(STORE_AHEAD + 1), init=STORE_AHEAD)
        has_room = Signal(init=1)
        read = Signal()
        left = Signal()
        address, _, more, _ = self._walk(m, command, start, read)
        m.d.comb += [
            self.act.address.eq(address),
            self.act.valid.eq(more & has_room),
            read.eq(self.act.valid & self.act.ready),
            left.eq(buffer.o.valid & buffer.o.ready),
        ]
        m.d.sync += room.eq(stepped(room, left, read))
        with m.If(left):
            m.d.sync += has_room.eq(1)
        with m.Elif(read):
            m.d.sync += has_room.eq(room != 1)
        arriving = Signal(ActivationMemory.latency)
        m.d.sync += arriving.eq((arriving << 1) | read)
        m.d.comb += [buffer.i.payload.eq(self.act.data), buffer.i.valid.eq(arriving[-1])]
        responses = Signal(16)
        last_response = Signal()
        with m.If(self.request_done):
            m.d.data += [responses.eq(responses - 1), last_response.eq(responses == 2)]
        with m.If(start):
            m.d.data += [responses.eq(command.rows), last_response.eq(command.rows == 1)]
        m.d.sync += self.done.eq(running & self.request_done & last_response)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        return m
