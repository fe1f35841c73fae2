"""Writes memory through the write half of an AXI4 master."""

from amaranth.hdl import Cat, Module, Mux, Signal
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
from hw.rtl.axi.bus import CACHE_NORMAL, AxiWriteSignature, Burst, beat_bytes
from hw.rtl.cells.counting import incremented
from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.skid import SkidBuffer

__all__ = ["AxiWriter"]


class AxiWriter(Component):
    """Turns requests into bursts and fills them from a stream of whole beats, in order.

    A burst is announced (AW) only when all its data is in the writer's buffer, so a slow producer
    never holds up the interconnect in the middle of a burst. The buffer holds two bursts. One beat
    per cycle as long as ``outstanding * burst_beats`` covers the memory's latency in cycles.
    Transfers use ID 0, the full data width, incrementing bursts, ``awcache`` 0b0011 and ``awprot``
    0; all bytes are enabled.

    An error response neither stops nor shortens a transfer.

    Parameters
    ----------
    address_width : int
        Bits of an address; addresses count bytes.
    data_width : int
        Bits of a beat: 8, 16, 32 ... 1024.
    outstanding : int
        Bursts without their response at once, 2 or more.
    length_width : int
        Bits of a request's number of beats.
    burst_beats : int
        Most beats of a burst: a power of two up to 256, and 4 KiB.

    Members
    -------
    axi : ``Out(AxiWriteSignature(address_width, data_width))``
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
        ``address`` is a multiple of the beat (lower bits are ignored). A request of no beats is
        accepted and has no effect: it is not reported as done.
    data : ``In(stream.Signature(data_width))``
        The beats of the requests, one after the other; they may come before their request.
    done : ``Out(1)``
        High for one cycle for each request, after the response to its last burst.
    window_first, window_last, offset : ``In(page_bits(address_width))``
    outside : ``Out(1)``, outside_address : ``Out(address_width)``
        The window of :class:`hw.rtl.axi.bursts.BurstSplitter`, which no burst leaves.
    error : ``Out(1)``
        High for one cycle for each burst that got an error response.
    error_response : ``Out(2)``
        That response (:class:`hw.rtl.axi.bus.Resp`), while ``error`` is high.
    error_address : ``Out(address_width)``
        Address of the burst that it answers, likewise.
    cancel : ``In(1)``
        Forgets what was requested: no further burst starts, waiting and arriving data is dropped,
        bursts already announced are completed. Hold it until ``busy`` is low.
    busy : ``Out(1)``
        A request, a burst or a response is outstanding. (Data without a request does not count.)
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
            "axi": Out(AxiWriteSignature(address_width, data_width)),
            "request": In(stream.Signature(request_layout(address_width, length_width))),
            "data": In(stream.Signature(data_width)),
            "done": Out(1),
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
        buffer = StreamFifo(self.data_width, max(4, 2 * self.burst_beats))
        # Bursts that have been announced and whose data has not been sent: beats less one, and
        # whether that is none.
        lengths = StreamFifo(
            data.StructLayout({"length": 8, "single": 1}), max(3, self.outstanding)
        )
        # For each burst without its response: whether it is the last of its request, and its
        # address.
        ends = StreamFifo(
            data.StructLayout({"last": 1, "address": self.address_width}),
            max(3, self.outstanding),
        )
        m.submodules.splitter, m.submodules.buffer = splitter, buffer
        m.submodules.lengths, m.submodules.ends = lengths, ends
        connect_splitter(m, self, splitter)
        issue, answered, dropped = Signal(), Signal(), Signal()
        bursts, may_issue = count_bursts(m, self.outstanding, issue, answered)
        unclaimed, enough = self._claim(m, splitter, buffer, issue, dropped)
        self._announce(m, splitter, issue, may_issue, enough)
        m.d.comb += [
            # Neither can be full: they have entries for all bursts.
            lengths.i.valid.eq(issue),
            lengths.i.p.length.eq(splitter.burst.p.length),
            lengths.i.p.single.eq(splitter.burst.p.length == 0),
            ends.i.valid.eq(issue),
            ends.i.p.last.eq(splitter.burst.p.last),
            ends.i.p.address.eq(splitter.burst.p.address),
        ]
        self._send(m, buffer, lengths, dropped)
        self._take_responses(m, ends, answered)
        m.d.comb += self.busy.eq(splitter.busy | (bursts != 0) | (self.cancel & (unclaimed != 0)))
        return m

    def _claim(
        self,
        m: Module,
        splitter: BurstSplitter,
        buffer: StreamFifo,
        issue: Signal,
        dropped: Signal,
    ) -> tuple[Signal, Signal]:
        """Beats in the buffer that belong to no announced burst; whether they make up the offered.

        Only announcing makes them fewer: what was enough stays so until then. While cancelling,
        data is accepted and dropped.
        """
        unclaimed = Signal(range(buffer.depth + 1))
        enough, accepted = Signal(), Signal()
        removed = Signal(len(unclaimed))
        length = Signal(max(8, len(unclaimed)))
        m.d.comb += [
            buffer.i.payload.eq(self.data.payload),
            buffer.i.valid.eq(self.data.valid & ~self.cancel),
            self.data.ready.eq(buffer.i.ready | self.cancel),
            accepted.eq(buffer.i.valid & buffer.i.ready),
            length.eq(splitter.burst.p.length),
            removed.eq(Mux(issue, ~length, dropped.replicate(len(removed)))),
        ]
        m.d.sync += [
            # Less a burst's length and one, which is the carry that a new beat keeps in.
            unclaimed.eq((Cat(1, unclaimed) + Cat(accepted, removed))[1:]),
            enough.eq(splitter.burst.valid & (unclaimed > splitter.burst.p.length) & ~issue),
        ]
        return unclaimed, enough

    def _announce(
        self, m: Module, splitter: BurstSplitter, issue: Signal, may_issue: Signal, enough: Signal
    ) -> None:
        """The offered burst on AW, once all its data is there."""
        axi, burst = self.axi, splitter.burst
        m.d.comb += [
            axi.awid.eq(0),
            axi.awsize.eq(beat_bytes(self.data_width).bit_length() - 1),
            axi.awburst.eq(Burst.INCR),
            axi.awcache.eq(CACHE_NORMAL),
            axi.awprot.eq(0),
        ]
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If((axi.awready | ~axi.awvalid) & may_issue):
            m.d.comb += [
                splitter.burst.ready.eq(enough | self.cancel),
                issue.eq(splitter.burst.valid & enough & ~self.cancel),
            ]
            m.d.data += [axi.awaddr.eq(burst.p.address), axi.awlen.eq(burst.p.length)]
            m.d.sync += axi.awvalid.eq(issue)

    def _send(self, m: Module, buffer: StreamFifo, lengths: StreamFifo, dropped: Signal) -> None:
        """Beats of announced bursts, and of no others."""
        axi = self.axi
        skid = SkidBuffer(data.StructLayout({"data": self.data_width, "last": 1}))
        m.submodules.skid = skid
        sent, following = Signal(8), Signal(8)
        # Whether the next beat is a burst's first, and whether it is the last if it is not.
        first, ends_burst = Signal(init=1), Signal()
        last = Signal()
        m.d.comb += [
            following.eq(incremented(sent)),
            last.eq(Mux(first, lengths.o.p.single, ends_burst)),
            skid.i.valid.eq(buffer.o.valid & lengths.o.valid),
            skid.i.p.data.eq(buffer.o.payload),
            skid.i.p.last.eq(last),
            dropped.eq(self.cancel & buffer.o.valid & lengths.empty),
            buffer.o.ready.eq((skid.i.ready & lengths.o.valid) | dropped),
            lengths.o.ready.eq(buffer.o.valid & skid.i.ready & last),
            axi.wvalid.eq(skid.o.valid),
            axi.wdata.eq(skid.o.p.data),
            axi.wstrb.eq(~0),
            axi.wlast.eq(skid.o.p.last),
            skid.o.ready.eq(axi.wready),
        ]
        with m.If(skid.i.valid & skid.i.ready):
            m.d.sync += [first.eq(last), ends_burst.eq(following == lengths.o.p.length)]
            with m.If(last):
                m.d.sync += sent.eq(0)
            with m.Else():
                m.d.sync += sent.eq(following)

    def _take_responses(self, m: Module, ends: StreamFifo, answered: Signal) -> None:
        axi = self.axi
        m.d.comb += [axi.bready.eq(1), answered.eq(axi.bvalid), ends.o.ready.eq(axi.bvalid)]
        m.d.sync += [
            self.done.eq(axi.bvalid & ends.o.p.last),
            self.error.eq(axi.bvalid & axi.bresp[1]),
        ]
        m.d.data += [
            self.error_response.eq(axi.bresp),
            self.error_address.eq(ends.o.p.address),
        ]
