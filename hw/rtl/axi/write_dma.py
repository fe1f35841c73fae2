"""Writes memory through the write half of an AXI4 master."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.rtl.axi.bursts import BurstSplitter
from hw.rtl.axi.bus import AxiWriteSignature
from hw.rtl.axi.master import AxiMaster
from hw.rtl.cells.counting import incremented
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.skid import SkidBuffer

__all__ = ["AxiWriter"]


class AxiWriter(AxiMaster):
    """Turns requests into bursts and fills them from a stream of whole beats, in order.

    Parameters and further members are those of :class:`hw.rtl.axi.master.AxiMaster`.

    A burst is announced (AW) only when all its data is in the writer's buffer. So a slow producer
    never holds up the interconnect in the middle of a burst. The buffer holds two bursts. The
    writer takes one beat per cycle if ``outstanding * burst_beats`` covers the memory's latency in
    cycles. All bytes of a beat are enabled.

    ``error`` is high once for each burst that got an error response. While cancelling, waiting and
    arriving data is dropped, and bursts that were announced are completed. ``busy`` covers
    responses that are outstanding, but not data without a request.

    Members
    -------
    axi : ``Out(AxiWriteSignature(address_width, data_width))``
    data : ``In(stream.Signature(data_width))``
        The beats of the requests, one after the other; they may come before their request.
    done : ``Out(1)``
        High for one cycle for each request, after the response to its last burst. A request of no
        beats is not reported.
    """

    def _members(self) -> dict:
        return {
            "axi": Out(AxiWriteSignature(self.address_width, self.data_width)),
            "data": In(stream.Signature(self.data_width)),
            "done": Out(1),
        }

    def build(self) -> Module:
        m = Module()
        splitter = self._split(m)
        buffer = StreamFifo(self.data_width, max(4, 2 * self.burst_beats))
        # Bursts that were announced and whose data was not sent: beats less one, and whether that
        # is none.
        lengths = StreamFifo(
            data.StructLayout({"length": 8, "single": 1}), max(3, self.outstanding)
        )
        m.submodules.buffer, m.submodules.lengths = buffer, lengths
        # A burst counts until its response has come.
        issue = Signal()
        answered = Signal()
        dropped = Signal()
        bursts, may_issue = self._count(m, issue, answered)
        unclaimed, enough = self._claim(m, splitter, buffer, issue, dropped)
        announced = self._announce(m, "aw", splitter, issue, may_issue, enough)
        m.d.comb += [
            # Never full: it has entries for all bursts.
            lengths.i.valid.eq(issue),
            lengths.i.p.length.eq(splitter.burst.p.length),
            lengths.i.p.single.eq(splitter.burst.p.length == 0),
            self.busy.eq(splitter.busy | (bursts != 0) | (self.cancel & (unclaimed != 0))),
        ]
        self._send(m, buffer, lengths, dropped)
        self._take_responses(m, announced, answered)
        return m

    def _claim(
        self,
        m: Module,
        splitter: BurstSplitter,
        buffer: StreamFifo,
        issue: Signal,
        dropped: Signal,
    ) -> tuple[Signal, Signal]:
        """Counts beats in the buffer that belong to no announced burst.

        Returns that number, and whether it is enough for the burst that is offered. It falls only
        when a burst is announced, so what was enough stays enough until then. While cancelling,
        data is accepted and dropped.
        """
        unclaimed = Signal(range(buffer.depth + 1))
        enough = Signal()
        accepted = Signal()
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
            # `removed` is minus a burst's beats (the inverted length) or minus a dropped beat. The
            # lowest bits add an accepted beat as a carry.
            unclaimed.eq((Cat(1, unclaimed) + Cat(accepted, removed))[1:]),
            enough.eq(splitter.burst.valid & (unclaimed > splitter.burst.p.length) & ~issue),
        ]
        return unclaimed, enough

    def _send(self, m: Module, buffer: StreamFifo, lengths: StreamFifo, dropped: Signal) -> None:
        """Sends the beats of announced bursts, and no others."""
        axi = self.axi
        skid = SkidBuffer(data.StructLayout({"data": self.data_width, "last": 1}))
        m.submodules.skid = skid
        sent = Signal(8)
        following = Signal(8)
        # Whether the next beat is a burst's first; if it is not, whether it is the last.
        first = Signal(init=1)
        ends_burst = Signal()
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

    def _take_responses(self, m: Module, announced: StreamFifo, answered: Signal) -> None:
        axi = self.axi
        m.d.comb += [axi.bready.eq(1), answered.eq(axi.bvalid), announced.o.ready.eq(axi.bvalid)]
        m.d.sync += [
            self.done.eq(axi.bvalid & announced.o.p.last),
            self.error.eq(axi.bvalid & axi.bresp[1]),
        ]
        m.d.data += [
            self.error_response.eq(axi.bresp),
            self.error_address.eq(announced.o.p.address),
        ]
