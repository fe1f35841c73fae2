"""Reads memory through the read half of an AXI4 master."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.timing import BURST_BEATS
from hw.rtl.axi.bursts import (
    BurstSplitter,
    check_widths,
    connect_splitter,
    count_bursts,
    page_bits,
    request_layout,
)
from hw.rtl.axi.bus import CACHE_NORMAL, AxiReadSignature, Burst, beat_bytes
from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["AxiReader", "read_data_layout"]


def read_data_layout(data_width: int) -> data.StructLayout:
    """A beat: ``data``, ``last`` of its request, ``error`` if AXI answered with one."""
    return data.StructLayout({"data": data_width, "last": 1, "error": 1})


class AxiReader(Component):
    """Turns requests into bursts and their beats into a stream, in order.

    A burst is issued only when the reader's own buffer has room for all of it, so ``rready`` is
    always high: a slow consumer never holds up the interconnect, and the buffer cannot overflow.
    The buffer holds ``outstanding * burst_beats`` beats. One beat per cycle as long as
    ``outstanding * burst_beats`` covers the memory's latency in cycles. Transfers use ID 0, the
    full data width, incrementing bursts, ``arcache`` 0b0011 and ``arprot`` 0.

    An error response neither stops nor shortens a transfer: all its beats arrive, the bad ones
    marked.

    Parameters
    ----------
    address_width : int
        Bits of an address; addresses count bytes.
    data_width : int
        Bits of a beat: 8, 16, 32 ... 1024.
    outstanding : int
        Bursts that are under way or in the buffer at once, 2 or more.
    length_width : int
        Bits of a request's number of beats.
    burst_beats : int
        Most beats of a burst: a power of two up to 256, and 4 KiB.

    Members
    -------
    axi : ``Out(AxiReadSignature(address_width, data_width))``
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
        ``address`` is a multiple of the beat (lower bits are ignored). A request of no beats is
        accepted and has no effect.
    data : ``Out(stream.Signature(read_data_layout(data_width)))``
    window_first, window_last, offset : ``In(page_bits(address_width))``
    outside : ``Out(1)``, outside_address : ``Out(address_width)``
        The window of :class:`hw.rtl.axi.bursts.BurstSplitter`, which no burst leaves.
    error : ``Out(1)``
        High for one cycle for each beat that came with an error response.
    error_response : ``Out(2)``
        That response (:class:`hw.rtl.axi.bus.Resp`), while ``error`` is high.
    error_address : ``Out(address_width)``
        Address of the burst that it answers, likewise.
    cancel : ``In(1)``
        Forgets what was requested: no further burst starts, beats under way and in the buffer are
        dropped. Hold it until ``busy`` is low.
    busy : ``Out(1)``
        A request, burst or beat is in the reader.
    """

    def __init__(
        self,
        *,
        address_width: int,
        data_width: int,
        outstanding: int,
        length_width: int,
        burst_beats: int = BURST_BEATS,
    ):
        if not isinstance(outstanding, int):
            raise TypeError(f"Outstanding bursts must be an integer, not {outstanding!r}")
        if outstanding < 2:
            raise ValueError(f"Outstanding bursts must be 2 or more, not {outstanding!r}")
        check_widths(address_width, data_width, length_width, burst_beats)
        self.address_width = address_width
        self.data_width = data_width
        self.outstanding = outstanding
        self.length_width = length_width
        self.burst_beats = burst_beats
        super().__init__({
            "axi": Out(AxiReadSignature(address_width, data_width)),
            "request": In(stream.Signature(request_layout(address_width, length_width))),
            "data": Out(stream.Signature(read_data_layout(data_width))),
            "error": Out(1),
            "error_response": Out(2),
            "error_address": Out(address_width),
            "window_first": In(page_bits(address_width)),
            "window_last": In(page_bits(address_width), init=-1),
            "offset": In(page_bits(address_width)),
            "outside": Out(1),
            "outside_address": Out(address_width),
            "cancel": In(1),
            "busy": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        splitter = BurstSplitter(
            address_width=self.address_width,
            data_width=self.data_width,
            length_width=self.length_width,
            burst_beats=self.burst_beats,
        )
        # For each burst under way: whether it is the last of its request, and its address.
        ends = StreamFifo(
            data.StructLayout({"last": 1, "address": self.address_width}),
            max(3, self.outstanding),
        )
        m.submodules.splitter, m.submodules.ends = splitter, ends
        connect_splitter(m, self, splitter)
        # A burst counts until its last beat has left the buffer.
        issue, retire = Signal(), Signal()
        bursts, may_issue = count_bursts(m, self.outstanding, issue, retire)
        self._ask(m, splitter, issue, may_issue)
        m.d.comb += [
            # Never full: it has entries for all bursts.
            ends.i.valid.eq(issue),
            ends.i.p.last.eq(splitter.burst.p.last),
            ends.i.p.address.eq(splitter.burst.p.address),
            self.busy.eq(splitter.busy | (bursts != 0)),
        ]
        self._take(m, ends, retire)
        return m

    def _ask(self, m: Module, splitter: BurstSplitter, issue: Signal, may_issue: Signal) -> None:
        """The offered burst on AR."""
        axi, burst = self.axi, splitter.burst
        m.d.comb += [
            axi.arid.eq(0),
            axi.arsize.eq(beat_bytes(self.data_width).bit_length() - 1),
            axi.arburst.eq(Burst.INCR),
            axi.arcache.eq(CACHE_NORMAL),
            axi.arprot.eq(0),
        ]
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.If((axi.arready | ~axi.arvalid) & may_issue):
            m.d.comb += [
                splitter.burst.ready.eq(1),
                issue.eq(splitter.burst.valid & ~self.cancel),
            ]
            m.d.data += [axi.araddr.eq(burst.p.address), axi.arlen.eq(burst.p.length)]
            m.d.sync += axi.arvalid.eq(issue)

    def _take(self, m: Module, ends: StreamFifo, retire: Signal) -> None:
        """Beats into the buffer and out of it; while cancelling they are dropped."""
        axi = self.axi
        layout = data.StructLayout({"data": self.data_width, "last": 1, "error": 1, "burst_end": 1})
        buffer = StreamFifo(layout, max(3, self.outstanding * self.burst_beats))
        m.submodules.buffer = buffer
        error = axi.rresp[1]
        m.d.comb += [
            axi.rready.eq(1),
            buffer.i.valid.eq(axi.rvalid),
            buffer.i.p.data.eq(axi.rdata),
            buffer.i.p.last.eq(axi.rlast & ends.o.p.last),
            buffer.i.p.error.eq(error),
            buffer.i.p.burst_end.eq(axi.rlast),
            ends.o.ready.eq(axi.rvalid & axi.rlast),
            self.data.p.data.eq(buffer.o.p.data),
            self.data.p.last.eq(buffer.o.p.last),
            self.data.p.error.eq(buffer.o.p.error),
            self.data.valid.eq(buffer.o.valid & ~self.cancel),
            buffer.o.ready.eq(self.data.ready | self.cancel),
            retire.eq(buffer.o.valid & buffer.o.ready & buffer.o.p.burst_end),
        ]
        m.d.sync += self.error.eq(axi.rvalid & error)
        m.d.data += [
            self.error_response.eq(axi.rresp),
            self.error_address.eq(ends.o.p.address),
        ]
