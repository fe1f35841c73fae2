"""Reads memory through the read half of an AXI4 master."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Out

from hw.rtl.axi.bus import AxiReadSignature
from hw.rtl.axi.master import AxiMaster
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["AxiReader", "read_data_layout"]


def read_data_layout(data_width: int) -> data.StructLayout:
    """A beat: ``data``, and ``last`` of its request."""
    return data.StructLayout({"data": data_width, "last": 1})


class AxiReader(AxiMaster):
    """Turns requests into bursts and their beats into a stream, in order.

    Parameters and further members are those of :class:`hw.rtl.axi.master.AxiMaster`.

    A burst is issued only when the reader's own buffer has room for all of it. So ``rready`` is
    always high: a slow consumer never holds up the interconnect, and the buffer cannot overflow.
    The buffer holds ``outstanding * burst_beats`` beats. The reader delivers one beat per cycle if
    that covers the memory's latency in cycles.

    All beats arrive, those with an error response too. ``error`` is high once for each such beat.
    While cancelling, beats under way and in the buffer are dropped.

    Members
    -------
    axi : ``Out(AxiReadSignature(address_width, data_width))``
    data : ``Out(stream.Signature(read_data_layout(data_width)))``
    """

    def _members(self) -> dict:
        return {
            "axi": Out(AxiReadSignature(self.address_width, self.data_width)),
            "data": Out(stream.Signature(read_data_layout(self.data_width))),
        }

    def build(self) -> Module:
        m = Module()
        splitter = self._split(m)
        # A burst counts until its last beat has left the buffer.
        issue = Signal()
        retire = Signal()
        bursts, may_issue = self._count(m, issue, retire)
        announced = self._announce(m, "ar", splitter, issue, may_issue)
        m.d.comb += self.busy.eq(splitter.busy | (bursts != 0))
        self._take(m, announced, retire)
        return m

    def _take(self, m: Module, announced: StreamFifo, retire: Signal) -> None:
        """Takes beats through the buffer; while cancelling they are dropped."""
        axi = self.axi
        layout = data.StructLayout({"data": self.data_width, "last": 1, "burst_end": 1})
        buffer = StreamFifo(layout, max(3, self.outstanding * self.burst_beats))
        m.submodules.buffer = buffer
        error = axi.rresp[1]
        m.d.comb += [
            axi.rready.eq(1),
            buffer.i.valid.eq(axi.rvalid),
            buffer.i.p.data.eq(axi.rdata),
            buffer.i.p.last.eq(axi.rlast & announced.o.p.last),
            buffer.i.p.burst_end.eq(axi.rlast),
            announced.o.ready.eq(axi.rvalid & axi.rlast),
            self.data.p.data.eq(buffer.o.p.data),
            self.data.p.last.eq(buffer.o.p.last),
            self.data.valid.eq(buffer.o.valid & ~self.cancel),
            buffer.o.ready.eq(self.data.ready | self.cancel),
            retire.eq(buffer.o.valid & buffer.o.ready & buffer.o.p.burst_end),
        ]
        m.d.sync += self.error.eq(axi.rvalid & error)
        m.d.data += [
            self.error_response.eq(axi.rresp),
            self.error_address.eq(announced.o.p.address),
        ]
