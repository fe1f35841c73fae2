"""Requests that arrive byte by byte become accesses to registers and memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

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

__all__ = ["CONTROL_ADDRESS_BITS", "Bridge"]

CONTROL_ADDRESS_BITS = 12
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
    rx, line_error, tx, tx_busy, divisor : to and from the receiver and the transmitter
    registers : ``Out(AxiLiteSignature(12))``, of the accelerator
    memory_address : ``Out(range(memory_words))``, ``memory_write_data`` : ``Out(32)``
    memory_read, memory_write : ``Out(1)``, one cycle each per access
    memory_read_data : ``In(32)``, two cycles after ``memory_read``
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
            "registers": Out(AxiLiteSignature(CONTROL_ADDRESS_BITS)),
            "memory_address": Out(range(memory_words)),
            "memory_read": Out(1),
            "memory_write": Out(1),
            "memory_write_data": Out(32),
            "memory_read_data": In(32),
            "interrupt": In(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        writes = Signal()
        # Address and count arrive low byte first and are shifted in from the top.
        header = Signal(8 * (HEADER_BYTES - 1))
        address, count = header[:32], header[32:]
        place = Signal(range(HEADER_BYTES))
        data, total, status = Signal(32), Signal(8), Signal(2)
        axi = self.registers
        divisor_next = Signal.like(self.divisor)
        interrupt = Signal()
        broken = Signal()
        space, offset = address[30:32], address[:30]
        response = Signal(2)
        read_data = Signal(32)

        m.d.comb += [
            axi.awaddr.eq(address[:CONTROL_ADDRESS_BITS]),
            axi.araddr.eq(address[:CONTROL_ADDRESS_BITS]),
            axi.wdata.eq(data),
            axi.wstrb.eq(~0),
            axi.bready.eq(1),
            axi.rready.eq(1),
            self.memory_address.eq(address >> 2),
            self.memory_write_data.eq(data),
        ]
        m.d.sync += [self.memory_read.eq(0), self.memory_write.eq(0), interrupt.eq(self.interrupt)]
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)

        wait = Signal(2)
        done = Signal()
        with m.If(self.line_error):
            m.d.sync += broken.eq(1)

        with m.FSM(name="state"):
            with m.State("IDLE"):
                m.d.comb += self.rx.ready.eq(1)
                m.d.sync += [place.eq(0), status.eq(Resp.OKAY), total.eq(self.rx.payload)]
                m.d.sync += writes.eq(self.rx.payload == Op.WRITE)
                with m.If(
                    self.rx.valid & ((self.rx.payload == Op.READ) | (self.rx.payload == Op.WRITE))
                ):
                    m.next = "HEADER"
                with m.If(broken):
                    m.next = "LINE_ERROR"
            with m.State("HEADER"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(self.rx.valid):
                    m.d.sync += [
                        header.eq(Cat(header[8:], self.rx.payload)),
                        total.eq(total + self.rx.payload),
                        place.eq(place + 1),
                    ]
                    with m.If(place == HEADER_BYTES - 2):
                        m.next = "WORD"
                with m.If(broken):
                    m.next = "LINE_ERROR"
            with m.State("WORD"):
                m.d.sync += place.eq(0)
                with m.If(broken):
                    m.next = "LINE_ERROR"
                with m.Elif(count == 0):
                    m.next = "STATUS"
                with m.Elif(writes):
                    m.next = "COLLECT"
                with m.Else():
                    m.next = "ACCESS"
            with m.State("COLLECT"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(self.rx.valid):
                    m.d.sync += [
                        data.eq(Cat(data[8:], self.rx.payload)),
                        total.eq(total + self.rx.payload),
                        place.eq(place + 1),
                    ]
                    with m.If(place == _WORD_BYTES - 1):
                        m.next = "ACCESS"
                with m.If(broken):
                    m.next = "LINE_ERROR"
            with m.State("ACCESS"):
                m.d.sync += wait.eq(0)
                with m.If(space == Space.REGISTERS):
                    m.d.sync += [
                        axi.awvalid.eq(writes),
                        axi.wvalid.eq(writes),
                        axi.arvalid.eq(~writes),
                    ]
                with m.If(space == Space.MEMORY):
                    inside = (offset >> 2) < self.memory_words
                    m.d.sync += [
                        self.memory_write.eq(writes & inside),
                        self.memory_read.eq(~writes & inside),
                    ]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += wait.eq(wait + 1)
                m.d.comb += done.eq(wait == 3)
                with m.Switch(space):
                    with m.Case(Space.REGISTERS):
                        m.d.comb += [
                            done.eq(Mux(writes, axi.bvalid, axi.rvalid)),
                            response.eq(Mux(writes, axi.bresp, axi.rresp)),
                            read_data.eq(axi.rdata),
                        ]
                    with m.Case(Space.MEMORY):
                        m.d.comb += read_data.eq(self.memory_read_data)
                        with m.If((offset >> 2) >= self.memory_words):
                            m.d.comb += response.eq(Resp.DECERR)
                    with m.Case(Space.HOST):
                        values = {
                            HostRegister.DIVISOR: self.divisor,
                            HostRegister.MEMORY_BYTES: _WORD_BYTES * self.memory_words,
                            HostRegister.INTERRUPT: interrupt,
                            HostRegister.CLOCK_KHZ: self.clock_khz,
                        }
                        m.d.comb += response.eq(Resp.DECERR)
                        for register, value in values.items():
                            with m.If(offset == register):
                                m.d.comb += [
                                    read_data.eq(value),
                                    response.eq(Mux(writes, Resp.SLVERR, Resp.OKAY)),
                                ]
                        with m.If(writes & (offset == HostRegister.DIVISOR)):
                            m.d.comb += response.eq(Resp.OKAY)
                            m.d.sync += divisor_next.eq(data)
                    with m.Default():
                        m.d.comb += response.eq(Resp.DECERR)
                with m.If(done):
                    m.d.sync += [
                        status.eq(status | response),
                        offset.eq(offset + _WORD_BYTES),
                        count.eq(count - 1),
                    ]
                    with m.If(writes):
                        m.next = "WORD"
                    with m.Else():
                        m.d.sync += data.eq(read_data)
                        m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(data[:8])]
                with m.If(self.tx.ready):
                    m.d.sync += [
                        data.eq(data[8:]),
                        total.eq(total + data[:8]),
                        place.eq(place + 1),
                    ]
                    with m.If(place == _WORD_BYTES - 1):
                        m.next = "WORD"
            with m.State("STATUS"):
                m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(STATUS | status)]
                with m.If(self.tx.ready):
                    m.d.sync += total.eq(total + (STATUS | status))
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(total)]
                with m.If(self.tx.ready):
                    m.next = "QUIET"
            # A new speed holds only when the answer has been sent at the old one.
            with m.State("QUIET"), m.If(~self.tx_busy):
                m.d.sync += self.divisor.eq(divisor_next)
                m.next = "IDLE"
            with m.State("LINE_ERROR"), m.If(~self.tx_busy):
                m.d.sync += [
                    broken.eq(0),
                    self.divisor.eq(self.divisor.init),
                    divisor_next.eq(self.divisor.init),
                ]
                m.next = "IDLE"
        return m
