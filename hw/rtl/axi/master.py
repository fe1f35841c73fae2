"""What reads and writes through an AXI4 master have in common."""

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.timing import BURST_BEATS
from hw.rtl.axi.bursts import BurstSplitter, check_widths, page_bits, request_layout
from hw.rtl.axi.bus import CACHE_NORMAL, Burst, beat_bytes
from hw.rtl.cells.counting import stepped
from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo

__all__ = ["AxiMaster"]


class AxiMaster(Component):
    """Turns requests into bursts, in order: the base of reader and writer.

    Transfers use ID 0, the full data width, incrementing bursts, the cache bits 0b0011 and the
    protection bits 0. An error response neither stops nor shortens a transfer.

    Parameters
    ----------
    address_width : int
        Bits of an address; addresses count bytes.
    data_width : int
        Bits of a beat: 8, 16, 32 ... 1024.
    outstanding : int
        Most bursts at once, 2 or more.
    length_width : int
        Bits of a request's number of beats.
    burst_beats : int
        Most beats of a burst: a power of two up to 256, and 4 KiB.

    Members
    -------
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
        ``address`` is a multiple of the beat (lower bits are ignored). A request of no beats is
        accepted and has no effect.
    window_first, window_last, offset : ``In(page_bits(address_width))``
    outside : ``Out(1)``, outside_address : ``Out(address_width)``
        The window of :class:`hw.rtl.axi.bursts.BurstSplitter`, which no burst leaves.
    error : ``Out(1)``
        High for one cycle for each error response.
    error_response : ``Out(2)``
        While ``error`` is high: that response (:class:`hw.rtl.axi.bus.Resp`).
    error_address : ``Out(address_width)``
        While ``error`` is high: the address of the burst that was answered.
    cancel : ``In(1)``
        Drops all requests: no further burst starts. Hold it until ``busy`` is low.
    busy : ``Out(1)``
        A request or a burst is in progress.
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
            "request": In(stream.Signature(request_layout(address_width, length_width))),
            **self._members(),
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

    def _members(self) -> dict:
        """``axi`` and the members for data."""
        raise NotImplementedError

    def _split(self, m: Module) -> BurstSplitter:
        """The splitter, with the request and the window that this component has."""
        splitter = BurstSplitter(
            address_width=self.address_width,
            data_width=self.data_width,
            length_width=self.length_width,
            burst_beats=self.burst_beats,
        )
        m.submodules.splitter = splitter
        m.d.comb += [
            splitter.request.payload.eq(self.request.payload),
            splitter.request.valid.eq(self.request.valid),
            self.request.ready.eq(splitter.request.ready),
            splitter.cancel.eq(self.cancel),
            splitter.window_first.eq(self.window_first),
            splitter.window_last.eq(self.window_last),
            splitter.offset.eq(self.offset),
            self.outside.eq(splitter.outside),
            self.outside_address.eq(splitter.outside_address),
        ]
        return splitter

    def _count(self, m: Module, issue: Value, retire: Value) -> tuple[Signal, Signal]:
        """Bursts that were issued and did not retire, and whether there may be another one."""
        bursts = Signal(range(self.outstanding + 1))
        may_issue = Signal(init=1)
        last = self.outstanding - 1
        m.d.sync += [
            bursts.eq(stepped(bursts, issue, retire)),
            may_issue.eq((bursts < last) | retire | ((bursts != self.outstanding) & ~issue)),
        ]
        return bursts, may_issue

    def _announce(
        self,
        m: Module,
        channel: str,
        splitter: BurstSplitter,
        issue: Signal,
        may_issue: Value,
        ready: Value = Const(1),  # noqa: B008
    ) -> StreamFifo:
        """Offers the splitter's burst on the address channel ``ar`` or ``aw`` once it is ``ready``.

        Returns the queue of announced bursts: each one's ``address``, and whether it is the
        ``last`` of its request. Taking an entry makes room for another one.
        """
        burst = splitter.burst
        valid, taken, address, length, *constants = (
            getattr(self.axi, channel + name)
            for name in ("valid", "ready", "addr", "len", "id", "size", "burst", "cache", "prot")
        )
        size = beat_bytes(self.data_width).bit_length() - 1
        values = (0, size, Burst.INCR, CACHE_NORMAL, 0)
        m.d.comb += [port.eq(value) for port, value in zip(constants, values, strict=True)]
        with m.If(taken):
            m.d.sync += valid.eq(0)
        with m.If((taken | ~valid) & may_issue):
            m.d.comb += [
                burst.ready.eq(ready | self.cancel),
                issue.eq(burst.valid & ready & ~self.cancel),
            ]
            m.d.data += [address.eq(burst.p.address), length.eq(burst.p.length)]
            m.d.sync += valid.eq(issue)
        layout = data.StructLayout({"last": 1, "address": self.address_width})
        announced = StreamFifo(layout, max(3, self.outstanding))
        m.submodules.ends = announced
        m.d.comb += [
            # Never full: it has entries for all bursts.
            announced.i.valid.eq(issue),
            announced.i.p.last.eq(burst.p.last),
            announced.i.p.address.eq(burst.p.address),
        ]
        return announced
