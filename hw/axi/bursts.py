"""Cuts a request for many beats into AXI bursts."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi.bus import PAGE_BYTES, beat_bytes

__all__ = ["BurstSplitter", "burst_layout", "check_widths", "request_layout"]


def request_layout(address_width: int, length_width: int) -> data.StructLayout:
    """A transfer: ``address`` of its first byte (a multiple of the beat), number of ``beats``."""
    return data.StructLayout({"address": address_width, "beats": length_width})


def burst_layout(address_width: int) -> data.StructLayout:
    """A burst: ``address``, ``length`` (beats less one, as in AXI), ``last`` of its request."""
    return data.StructLayout({"address": address_width, "length": 8, "last": 1})


class BurstSplitter(wiring.Component):
    """Requests in, bursts out.

    A burst ends at the next multiple of ``burst_beats`` beats at the latest, which is what keeps
    it within a page of 4 KiB: after a first, shorter one, bursts are aligned. Latency two cycles,
    a burst every two cycles. A request of no beats is accepted and gives no burst.

    Parameters
    ----------
    address_width : int
        Bits of an address; addresses count bytes.
    data_width : int
        Bits of a beat.
    length_width : int
        Bits of a request's number of beats.
    burst_beats : int
        Most beats of a burst: a power of two up to 256, and 4 KiB.

    Members
    -------
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
    burst : ``Out(stream.Signature(burst_layout(address_width)))``
    cancel : ``In(1)``
        Drops the request in progress and accepts none; a burst already offered stays.
    busy : ``Out(1)``
        A request is in progress or a burst is offered.
    """

    def __init__(self, *, address_width: int, data_width: int, length_width: int, burst_beats: int):
        check_widths(address_width, data_width, length_width, burst_beats)
        self.address_width = address_width
        self.data_width = data_width
        self.length_width = length_width
        self.burst_beats = burst_beats
        super().__init__({
            "request": In(stream.Signature(request_layout(address_width, length_width))),
            "burst": Out(stream.Signature(burst_layout(address_width))),
            "cancel": In(1),
            "busy": Out(1),
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        return (
            f"nbqnn_axi_bursts_a{self.address_width}_d{self.data_width}"
            f"_l{self.length_width}_b{self.burst_beats}"
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte_bits = beat_bytes(self.data_width).bit_length() - 1
        # The beat's number in memory: an address without the bits within a beat.
        beat = Signal(self.address_width - byte_bits)
        left = Signal(self.length_width)
        burst_beats = Signal(range(self.burst_beats + 1))
        to_boundary = Signal(range(self.burst_beats + 1))
        active = Signal()
        sized = Signal()

        offset = beat[: self.burst_beats.bit_length() - 1]
        m.d.comb += [
            to_boundary.eq(self.burst_beats - offset),
            self.request.ready.eq(~active & ~self.cancel),
            self.busy.eq(active | self.burst.valid),
        ]
        with m.If(self.burst.ready):
            m.d.sync += self.burst.valid.eq(0)
        with m.If(~active):
            m.d.sync += [
                beat.eq(self.request.p.address[byte_bits:]),
                left.eq(self.request.p.beats),
                sized.eq(0),
                active.eq(self.request.valid & self.request.ready & (self.request.p.beats != 0)),
            ]
        with m.Elif(~sized):
            m.d.sync += sized.eq(1)
            with m.If(left < to_boundary):
                m.d.sync += burst_beats.eq(left)
            with m.Else():
                m.d.sync += burst_beats.eq(to_boundary)
        with m.Elif(self.burst.ready | ~self.burst.valid):
            m.d.sync += [
                self.burst.p.address.eq(beat << byte_bits),
                self.burst.p.length.eq(burst_beats - 1),
                self.burst.p.last.eq(left == burst_beats),
                self.burst.valid.eq(1),
                beat.eq(beat + burst_beats),
                left.eq(left - burst_beats),
                active.eq(left != burst_beats),
                sized.eq(0),
            ]
        with m.If(self.cancel):
            m.d.sync += active.eq(0)
        return m


def check_widths(address_width: int, data_width: int, length_width: int, burst_beats: int) -> None:
    """Refuses what :class:`BurstSplitter` cannot be built for, with TypeError or ValueError."""
    step = beat_bytes(data_width)
    for name, value in (
        ("Address width", address_width),
        ("Length width", length_width),
        ("Beats of a burst", burst_beats),
    ):
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {value!r}")
    if not 12 <= address_width <= 64:
        raise ValueError(f"Address width must be 12..64 bits, not {address_width!r}")
    if not 1 <= length_width <= 32:
        raise ValueError(f"Length width must be 1..32 bits, not {length_width!r}")
    limit = min(256, PAGE_BYTES // step)
    if burst_beats not in [2**n for n in range(9) if 2**n <= limit]:
        raise ValueError(
            f"Beats of a burst must be a power of two up to {limit} for "
            f"{data_width}-bit data, not {burst_beats!r}"
        )
