"""Requests that arrive byte by byte become accesses to registers and memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.contract.registers import ADDRESS_BITS
from hw.contract.serial_protocol import (
    DIVISOR_BITS,
    HEADER_BYTES,
    STATUS,
    HostRegister,
    Op,
    Space,
    default_divisor,
)
from hw.rtl.axi.bus import AxiLiteSignature, Resp
from hw.rtl.component import Component

__all__ = ["Bridge"]

_WORD_BYTES = 4


class Bridge(Component):
    """Carries out the requests of :mod:`hw.contract.serial_protocol`, one after the other.

    Parameters
    ----------
    memory_words : int
        Size of the memory, a power of two; requests beyond it are answered with DECERR.
    clock_khz : int
        The clock, for the divisor after reset and for :attr:`HostRegister.CLOCK_KHZ`.

    Members
    -------
    rx, line_error, tx, tx_busy, divisor
        To and from receiver and transmitter.
    registers : ``Out(AxiLiteSignature(12))``, to the accelerator
    memory_address : ``Out(range(memory_words))``, ``memory_write_data`` : ``Out(32)``
    memory_read, memory_write : ``Out(1)``, high for one cycle for each access
    memory_read_data : ``In(32)``, three cycles after ``memory_read``
    interrupt : ``In(1)``
    """

    def __init__(self, *, memory_words: int, clock_khz: int):
        self.memory_words = memory_words
        self.clock_khz = clock_khz
        super().__init__({
            "rx": In(stream.Signature(8)),
            "line_error": In(1),
            "tx": Out(stream.Signature(8)),
            "tx_busy": In(1),
            "divisor": Out(DIVISOR_BITS, init=default_divisor(clock_khz * 1000)),
            "registers": Out(AxiLiteSignature(ADDRESS_BITS)),
            "memory_address": Out(range(memory_words)),
            "memory_read": Out(1),
            "memory_write": Out(1),
            "memory_write_data": Out(32),
            "memory_read_data": In(32),
            "interrupt": In(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        s = _State(self)
        m.d.comb += [
            self.registers.awaddr.eq(s.address[:ADDRESS_BITS]),
            self.registers.araddr.eq(s.address[:ADDRESS_BITS]),
            self.registers.wdata.eq(s.data),
            self.registers.wstrb.eq(~0),
            self.registers.bready.eq(1),
            self.registers.rready.eq(1),
            self.memory_address.eq(s.address >> 2),
            self.memory_write_data.eq(s.data),
        ]
        m.d.sync += [
            self.memory_read.eq(0),
            self.memory_write.eq(0),
            s.interrupt.eq(self.interrupt),
        ]
        for channel in ("aw", "w", "ar"):
            with m.If(getattr(self.registers, f"{channel}ready")):
                m.d.sync += getattr(self.registers, f"{channel}valid").eq(0)
        with m.If(self.line_error):
            m.d.sync += s.broken.eq(1)
        with m.FSM(name="state"):
            self._request(m, s)
            self._word(m, s)
            self._access(m, s)
            self._answer(m, s)
            self._rest(m, s)
        return m

    def _request(self, m: Module, s: "_State") -> None:
        """Takes the first byte, which says what to do, and the header behind it."""
        with m.State("IDLE"):
            m.d.comb += self.rx.ready.eq(1)
            m.d.sync += [s.place.eq(0), s.status.eq(Resp.OKAY), s.total.eq(self.rx.payload)]
            m.d.sync += s.writes.eq(self.rx.payload == Op.WRITE)
            with m.If(
                self.rx.valid & ((self.rx.payload == Op.READ) | (self.rx.payload == Op.WRITE))
            ):
                m.next = "HEADER"
            with m.If(s.broken):
                m.next = "LINE_ERROR"
        with m.State("HEADER"):
            self._receive(m, s, s.header, HEADER_BYTES - 1, then="WORD")

    def _word(self, m: Module, s: "_State") -> None:
        """Goes on with the next word, if one is left. A word to be written arrives first."""
        with m.State("WORD"):
            m.d.sync += s.place.eq(0)
            with m.If(s.broken):
                m.next = "LINE_ERROR"
            with m.Elif(s.count == 0):
                m.next = "STATUS"
            with m.Elif(s.writes):
                m.next = "COLLECT"
            with m.Else():
                m.next = "ACCESS"
        with m.State("COLLECT"):
            self._receive(m, s, s.data, _WORD_BYTES, then="ACCESS")

    def _receive(self, m: Module, s: "_State", to: Signal, count: int, *, then: str) -> None:
        """Shifts ``count`` bytes into ``to`` from the top: the low byte comes first."""
        m.d.comb += self.rx.ready.eq(1)
        with m.If(self.rx.valid):
            m.d.sync += [
                to.eq(Cat(to[8:], self.rx.payload)),
                s.total.eq(s.total + self.rx.payload),
                s.place.eq(s.place + 1),
            ]
            with m.If(s.place == count - 1):
                m.next = then
        with m.If(s.broken):
            m.next = "LINE_ERROR"

    def _access(self, m: Module, s: "_State") -> None:
        """Reads or writes one word, and waits until that is done."""
        axi = self.registers
        with m.State("ACCESS"):
            m.d.sync += s.wait.eq(0)
            with m.If(s.space == Space.REGISTERS):
                m.d.sync += [
                    axi.awvalid.eq(s.writes),
                    axi.wvalid.eq(s.writes),
                    axi.arvalid.eq(~s.writes),
                ]
            with m.If(s.space == Space.MEMORY):
                inside = (s.offset >> 2) < self.memory_words
                m.d.sync += [
                    self.memory_write.eq(s.writes & inside),
                    self.memory_read.eq(~s.writes & inside),
                ]
            m.next = "WAIT"
        with m.State("WAIT"):
            m.d.sync += s.wait.eq(s.wait + 1)
            m.d.comb += s.done.eq(s.wait == 3)
            self._found(m, s)
            with m.If(s.done):
                m.d.sync += [
                    s.status.eq(s.status | s.response),
                    s.offset.eq(s.offset + _WORD_BYTES),
                    s.count.eq(s.count - 1),
                ]
                with m.If(s.writes):
                    m.next = "WORD"
                with m.Else():
                    m.d.sync += s.data.eq(s.read_data)
                    m.next = "SEND"

    def _found(self, m: Module, s: "_State") -> None:
        """Drives ``response`` and ``read_data`` by what is at the word's address."""
        axi = self.registers
        with m.Switch(s.space):
            with m.Case(Space.REGISTERS):
                m.d.comb += [
                    s.done.eq(Mux(s.writes, axi.bvalid, axi.rvalid)),
                    s.response.eq(Mux(s.writes, axi.bresp, axi.rresp)),
                    s.read_data.eq(axi.rdata),
                ]
            with m.Case(Space.MEMORY):
                m.d.comb += s.read_data.eq(self.memory_read_data)
                with m.If((s.offset >> 2) >= self.memory_words):
                    m.d.comb += s.response.eq(Resp.DECERR)
            with m.Case(Space.HOST):
                self._found_here(m, s)
            with m.Default():
                m.d.comb += s.response.eq(Resp.DECERR)

    def _found_here(self, m: Module, s: "_State") -> None:
        """The bridge's own registers; only the divisor can be written."""
        values = {
            HostRegister.DIVISOR: self.divisor,
            HostRegister.MEMORY_BYTES: _WORD_BYTES * self.memory_words,
            HostRegister.INTERRUPT: s.interrupt,
            HostRegister.CLOCK_KHZ: self.clock_khz,
        }
        m.d.comb += s.response.eq(Resp.DECERR)
        for register, value in values.items():
            with m.If(s.offset == register):
                m.d.comb += [
                    s.read_data.eq(value),
                    s.response.eq(Mux(s.writes, Resp.SLVERR, Resp.OKAY)),
                ]
        with m.If(s.writes & (s.offset == HostRegister.DIVISOR)):
            m.d.comb += s.response.eq(Resp.OKAY)
            m.d.sync += s.divisor_next.eq(s.data)

    def _answer(self, m: Module, s: "_State") -> None:
        """Sends a word that was read; at the end status and total."""
        with m.State("SEND"):
            m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(s.data[:8])]
            with m.If(self.tx.ready):
                m.d.sync += [
                    s.data.eq(s.data[8:]),
                    s.total.eq(s.total + s.data[:8]),
                    s.place.eq(s.place + 1),
                ]
                with m.If(s.place == _WORD_BYTES - 1):
                    m.next = "WORD"
        with m.State("STATUS"):
            m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(STATUS | s.status)]
            with m.If(self.tx.ready):
                m.d.sync += s.total.eq(s.total + (STATUS | s.status))
                m.next = "SUM"
        with m.State("SUM"):
            m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(s.total)]
            with m.If(self.tx.ready):
                m.next = "QUIET"

    def _rest(self, m: Module, s: "_State") -> None:
        """Waits until all is sent. A new speed holds from then on; after a line error the first."""
        with m.State("QUIET"), m.If(~self.tx_busy):
            m.d.sync += self.divisor.eq(s.divisor_next)
            m.next = "IDLE"
        with m.State("LINE_ERROR"), m.If(~self.tx_busy):
            m.d.sync += [
                s.broken.eq(0),
                self.divisor.eq(self.divisor.init),
                s.divisor_next.eq(self.divisor.init),
            ]
            m.next = "IDLE"


class _State:
    """The bridge's registers, and what an access answers."""

    def __init__(self, bridge: Bridge):
        #: The request: whether it writes; address and count, in the order of their bytes.
        self.writes = Signal()
        self.header = Signal(8 * (HEADER_BYTES - 1))
        self.address, self.count = self.header[:32], self.header[32:]
        self.space, self.offset = self.address[30:32], self.address[:30]
        #: Bytes of the header, or of a word, that came or went.
        self.place = Signal(range(HEADER_BYTES))
        #: The word at hand.
        self.data = Signal(32)
        #: The sum of all bytes so far.
        self.total = Signal(8)
        #: All responses so far, combined by OR.
        self.status = Signal(2)
        #: The speed after the next answer.
        self.divisor_next = Signal.like(bridge.divisor)
        self.interrupt = Signal()
        #: The line was broken: the request is dropped.
        self.broken = Signal()
        #: Cycles that an access took so far.
        self.wait = Signal(2)
        # What an access ends with; no registers.
        self.done = Signal()
        self.response = Signal(2)
        self.read_data = Signal(32)
