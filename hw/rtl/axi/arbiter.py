"""Several requesters of reads share one reader."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from hw.rtl.axi.bursts import request_layout
from hw.rtl.axi.read_dma import read_data_layout
from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["ReadArbiter"]


class ReadArbiter(Component):
    """Passes requests on in turn (round robin) and hands each its data.

    Requests are served in the order in which they were passed on. So a requester that does not take
    its data holds up those behind it, and must request only what it can take without their help.
    Requests take two cycles, one every three cycles; data passes without delay.

    Parameters
    ----------
    requesters : int
        Number of requesters, 2 or more.
    address_width, data_width, length_width : int
        As in :class:`hw.rtl.axi.read_dma.AxiReader`.
    depth : int
        Most requests under way at once, 3 or more.

    Members
    -------
    requests : ``In(stream.Signature(request_layout(address_width, length_width))).array(n)``
        A request of no beats is accepted and has no effect.
    data : ``Out(stream.Signature(read_data_layout(data_width))).array(requesters)``
    request : ``Out(stream.Signature(request_layout(address_width, length_width)))``
        To the reader.
    reader_data : ``In(stream.Signature(read_data_layout(data_width)))``
        From the reader.
    cancel : ``In(1)``
        Drops all requests. Raise and lower it together with the reader's ``cancel``.
    """

    def __init__(
        self,
        *,
        requesters: int,
        address_width: int,
        data_width: int,
        length_width: int,
        depth: int = 8,
    ):
        if not isinstance(requesters, int):
            raise TypeError(f"Requesters must be an integer, not {requesters!r}")
        if requesters < 2:
            raise ValueError(f"Requesters must be 2 or more, not {requesters!r}")
        self.requesters = requesters
        self.address_width = address_width
        self.data_width = data_width
        self.length_width = length_width
        self.depth = depth
        request = stream.Signature(request_layout(address_width, length_width))
        beat = stream.Signature(read_data_layout(data_width))
        super().__init__({
            "requests": In(request).array(requesters),
            "data": Out(beat).array(requesters),
            "request": Out(request),
            "reader_data": In(beat),
            "cancel": In(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        index_shape = range(self.requesters)
        # The requesters whose data comes, in order.
        owners = StreamFifo(index_shape, self.depth)
        m.submodules.owners = owners

        # A request is chosen in one cycle, taken into a register in the next and then passed on. So
        # no path leads from one requester to another.
        chosen = Signal(index_shape)
        granted = Signal(self.requesters)
        request = Signal(request_layout(self.address_width, self.length_width))
        with m.Switch(chosen):
            for index, candidate in enumerate(self.requests):
                with m.Case(index):
                    m.d.comb += request.eq(candidate.payload)
        passed = Signal()
        entered = Signal()
        m.d.comb += [
            Cat(candidate.ready for candidate in self.requests).eq(granted),
            # There was room when it was chosen.
            owners.i.valid.eq(entered & ~self.cancel),
            owners.i.payload.eq(chosen),
            passed.eq((self.request.ready | ~self.request.valid) & ~entered),
        ]
        m.d.sync += [granted.eq(0), entered.eq(granted.any() & (request.beats != 0))]
        with m.If(self.request.ready):
            m.d.sync += self.request.valid.eq(0)
        with m.If(granted.any()):
            m.d.data += self.request.payload.eq(request)
            m.d.sync += self.request.valid.eq(request.beats != 0)
        with m.Elif(passed & owners.i.ready):
            # The first valid one behind the requester that was served last; that one comes last.
            for served in index_shape:
                with m.If(chosen == served):
                    for distance in reversed(range(1, self.requesters + 1)):
                        candidate = (served + distance) % self.requesters
                        with m.If(self.requests[candidate].valid):
                            m.d.sync += [chosen.eq(candidate), granted.eq(1 << candidate)]
        with m.If(self.cancel):
            m.d.sync += [granted.eq(0), entered.eq(0), self.request.valid.eq(0)]

        # While cancelling, the reader offers no data, so nothing else empties the queue.
        ends = Signal()
        m.d.comb += owners.o.ready.eq(self.cancel | (self.reader_data.valid & ends))
        for index, beats in enumerate(self.data):
            m.d.comb += beats.payload.eq(self.reader_data.payload)
            with m.If(owners.o.valid & (owners.o.payload == index)):
                m.d.comb += [
                    beats.valid.eq(self.reader_data.valid),
                    self.reader_data.ready.eq(beats.ready),
                    ends.eq(self.reader_data.p.last & beats.ready),
                ]
        return m
