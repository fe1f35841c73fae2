"""A serial line, byte by byte: eight data bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.contract.serial_protocol import DIVISOR_BITS
from hw.rtl.component import Component

__all__ = ["UartReceiver", "UartTransmitter"]

#: Data and stop bit.
_BITS = 9


class UartReceiver(Component):
    """Receives bytes from a line.

    Members
    -------
    rx : ``In(1)``, the line, asynchronous
    divisor : ``In(16)``, cycles per bit, 4 or more
    o : ``Out(stream.Signature(8))``
        A byte that is not taken before the next one is complete is lost.
    line_error : ``Out(1)``, high for one cycle for each byte without its stop bit
    """

    def __init__(self):
        super().__init__({
            "rx": In(1),
            "divisor": In(DIVISOR_BITS),
            "o": Out(stream.Signature(8)),
            "line_error": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        # Two registers against metastability, one to see the edge; idle lines are high.
        sampled = Signal(3, init=0b111)
        m.d.sync += sampled.eq(Cat(self.rx, sampled[:2]))
        level, before = sampled[1], sampled[2]

        timer = Signal(DIVISOR_BITS)
        at_sample = Signal()
        bits = Signal(range(_BITS + 1))
        shift = Signal(8)
        busy = Signal()
        m.d.comb += at_sample.eq(timer == 0)
        m.d.sync += self.line_error.eq(0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(busy & ~at_sample):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(~busy):
            # Wait until the middle of the start bit. Samples are as late as the edge was.
            m.d.sync += [
                busy.eq(before & ~level),
                bits.eq(0),
                timer.eq((self.divisor >> 1) - 1),
            ]
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), bits.eq(bits + 1)]
            with m.If(bits == 0):
                # A start bit that has ended by its middle was none.
                m.d.sync += busy.eq(~level)
            with m.Elif(bits != _BITS):
                m.d.sync += shift.eq(Cat(shift[1:], level))
            with m.Else():
                m.d.sync += busy.eq(0)
                with m.If(level):
                    m.d.sync += [self.o.payload.eq(shift), self.o.valid.eq(1)]
                with m.Else():
                    m.d.sync += self.line_error.eq(1)
        return m


class UartTransmitter(Component):
    """Sends bytes onto a line.

    Members
    -------
    i : ``In(stream.Signature(8))``
    divisor : ``In(16)``, cycles per bit, 4 or more
    tx : ``Out(1)``, the line, from a register
    busy : ``Out(1)``, a byte is on the line
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8)),
            "divisor": In(DIVISOR_BITS),
            "tx": Out(1, init=1),
            "busy": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        timer = Signal(DIVISOR_BITS)
        # The bits that follow the one on the line, then ones.
        shift = Signal(_BITS, init=-1)
        left = Signal(range(_BITS + 1))
        m.d.comb += self.i.ready.eq(~self.busy)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.busy.eq(1),
                self.tx.eq(0),
                shift.eq(Cat(self.i.payload, 1)),
                left.eq(_BITS),
                timer.eq(self.divisor - 1),
            ]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(self.busy):
            m.d.sync += [
                timer.eq(self.divisor - 1),
                self.tx.eq(shift[0]),
                shift.eq(Cat(shift[1:], 1)),
                left.eq(left - 1),
            ]
            with m.If(left == 0):
                m.d.sync += self.busy.eq(0)
        return m
