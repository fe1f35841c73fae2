"""On-chip memory that an AXI4 master and the host share."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out

from hw.rtl.attributes import NO_COLLISIONS
from hw.rtl.axi.bus import AxiReadSignature, AxiWriteSignature, Resp
from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["AxiMemory"]

_WORD_BYTES = 4
_OFFSET_BITS = 2
#: Beats between memory and bus.
_QUEUE = 8


class AxiMemory(Component):
    """Block memory behind AXI4 with 32-bit data, and a port of its own for the host.

    One burst of each direction at a time, one beat per cycle; incrementing bursts only. The memory
    begins at address 0. Accesses beyond it are answered with DECERR and have no effect. The host
    has priority: a burst waits one cycle for each of its accesses. A word that is read has all that
    was accepted in earlier cycles.

    Parameters
    ----------
    address_width : int
    words : int
        A power of two, 1024 or more.

    Members
    -------
    read : ``In(AxiReadSignature(address_width, 32))``
    write : ``In(AxiWriteSignature(address_width, 32))``
        Strobes are ignored: all bytes are written.
    host_address : ``In(range(words))``
    host_read, host_write : ``In(1)``, not both at once
    host_write_data : ``In(32)``
    host_read_data : ``Out(32)``, from three cycles after ``host_read`` until the next one
    """

    def __init__(self, *, address_width: int, words: int):
        if words < 1024 or words & (words - 1):
            raise ValueError(f"Words must be a power of two from 1024, not {words!r}")
        self.address_width = address_width
        self.words = words
        super().__init__({
            "read": In(AxiReadSignature(address_width, 8 * _WORD_BYTES)),
            "write": In(AxiWriteSignature(address_width, 8 * _WORD_BYTES)),
            "host_address": In(range(words)),
            "host_read": In(1),
            "host_write": In(1),
            "host_write_data": In(32),
            "host_read_data": Out(32),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        m.submodules.cells = cells = Memory(
            shape=32, depth=self.words, init=[], attrs=NO_COLLISIONS
        )
        read, write = cells.read_port(), cells.write_port()
        self._elaborate_reads(m, read, self._passed(m, read, write))
        self._elaborate_writes(m, write)
        return m

    def _passed(self, m: Module, read: ReadPort, write: WritePort) -> Value:
        """What was read, two cycles after its address.

        A word that is written just then does not come out of the memory. It goes past it, and is
        chosen behind the registers only: the way from the memory to these is long.
        """
        collides = Signal(2)
        word, written, before = Signal(32), Signal(32), Signal(32)
        m.d.sync += collides.eq(Cat(write.en & (write.addr == read.addr), collides[0]))
        m.d.data += [word.eq(read.data), before.eq(write.data), written.eq(before)]
        return Mux(collides[1], written, word)

    def _elaborate_reads(self, m: Module, port: ReadPort, word_read: Value) -> None:
        axi = self.read
        queue = StreamFifo(data.StructLayout({"data": 32, "last": 1}), _QUEUE)
        m.submodules.queue = queue
        # `busy` lasts from the address until the last beat has left, `issuing` until it is read.
        busy = Signal()
        issuing = Signal()
        word = Signal(range(self.words))
        left = Signal(8)
        beyond = Signal()
        # Beats in the queue or on their way to it.
        pending = Signal(range(_QUEUE + 1))
        issue = Signal()
        leave = Signal()
        # Two stages: the memory's own register, then that of `_passed`.
        host = Signal(2)
        valid = Signal(2)
        last = Signal(2)
        m.d.comb += [
            issue.eq(issuing & (pending != _QUEUE) & ~self.host_read),
            leave.eq(axi.rvalid & axi.rready),
            port.en.eq(1),
            port.addr.eq(Mux(self.host_read, self.host_address, word)),
            queue.i.valid.eq(valid[1]),
            queue.i.p.data.eq(word_read),
            queue.i.p.last.eq(last[1]),
            axi.arready.eq(~busy),
            axi.rvalid.eq(queue.o.valid),
            axi.rdata.eq(queue.o.p.data),
            axi.rlast.eq(queue.o.p.last),
            axi.rresp.eq(Mux(beyond, Resp.DECERR, Resp.OKAY)),
            queue.o.ready.eq(axi.rready),
        ]
        m.d.sync += [
            host.eq(Cat(self.host_read, host[0])),
            valid.eq(Cat(issue, valid[0])),
            last.eq(Cat(left == 0, last[0])),
            pending.eq(pending + issue - leave),
        ]
        with m.If(host[1]):
            m.d.sync += self.host_read_data.eq(word_read)
        with m.If(issue):
            m.d.sync += [word.eq(word + 1), left.eq(left - 1), issuing.eq(left != 0)]
        with m.If(leave & axi.rlast):
            m.d.sync += busy.eq(0)
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [
                *(busy.eq(1), issuing.eq(1), left.eq(axi.arlen), axi.rid.eq(axi.arid)),
                word.eq(axi.araddr >> _OFFSET_BITS),
                beyond.eq(self._is_beyond(axi.araddr)),
            ]

    def _elaborate_writes(self, m: Module, port: WritePort) -> None:
        axi = self.write
        busy = Signal()
        word = Signal(range(self.words))
        beyond = Signal()
        taken = Signal()
        # Near the memories, which are all over the chip.
        write = Signal()
        address = Signal(range(self.words))
        written = Signal(32)
        m.d.sync += write.eq(self.host_write | (taken & ~beyond))
        m.d.data += [
            address.eq(Mux(self.host_write, self.host_address, word)),
            written.eq(Mux(self.host_write, self.host_write_data, axi.wdata)),
        ]
        m.d.comb += [
            axi.awready.eq(~busy & ~axi.bvalid),
            axi.wready.eq(busy & ~self.host_write),
            taken.eq(axi.wvalid & axi.wready),
            *(port.en.eq(write), port.addr.eq(address), port.data.eq(written)),
            axi.bresp.eq(Mux(beyond, Resp.DECERR, Resp.OKAY)),
        ]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(taken):
            m.d.sync += [word.eq(word + 1), busy.eq(~axi.wlast), axi.bvalid.eq(axi.wlast)]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [
                *(busy.eq(1), axi.bid.eq(axi.awid)),
                word.eq(axi.awaddr >> _OFFSET_BITS),
                beyond.eq(self._is_beyond(axi.awaddr)),
            ]

    def _is_beyond(self, address: Value) -> Value:
        # No burst crosses a boundary of 4 KiB, so its address decides for all its beats.
        return (address >> (self.words * _WORD_BYTES).bit_length() - 1) != 0
