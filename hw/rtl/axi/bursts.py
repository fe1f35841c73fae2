"""Cuts a request for many beats into AXI bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.contract.isa import PAGE_BYTES
from hw.rtl.axi.bus import beat_bytes
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.comparison import Comparison
from hw.rtl.cells.counting import incremented
from hw.rtl.component import Component

__all__ = [
    "BurstSplitter",
    "burst_layout",
    "check_widths",
    "page_bits",
    "request_layout",
]

_PAGE_SHIFT = PAGE_BYTES.bit_length() - 1


def request_layout(address_width: int, length_width: int) -> data.StructLayout:
    """A request: ``address`` of its first byte (a multiple of the beat), number of ``beats``."""
    return data.StructLayout({"address": address_width, "beats": length_width})


def page_bits(address_width: int) -> int:
    """Bits of the number of a page of 4 KiB."""
    return address_width - _PAGE_SHIFT


def burst_layout(address_width: int) -> data.StructLayout:
    """A burst: ``address``, ``length`` (beats less one, as in AXI), ``last`` of its request."""
    return data.StructLayout({"address": address_width, "length": 8, "last": 1})


class BurstSplitter(Component):
    """Cuts requests into bursts that cross no boundary of 4 KiB and stay within a window.

    A burst ends at the next multiple of ``burst_beats`` beats at the latest. So all bursts but the
    first are aligned, and each lies within a page of 4 KiB. Latency two cycles, a burst every two
    cycles. A request of no beats is accepted and gives no burst.

    A burst is inside the window if its page is. One that is outside is not offered; ``outside`` is
    high until the request is cancelled.

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
    window_first, window_last : ``In(page_bits(address_width))``
        First and last page of the window; change them only while idle. Unconnected they mean all.
    offset : ``In(page_bits(address_width))``
        Pages added to the address of every burst, after it was compared with the window.
    outside : ``Out(1)``
        The request in progress goes on outside the window, at ``outside_address``.
    outside_address : ``Out(address_width)``
        Before ``offset`` is added.
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
        s = _State(self)
        beats, ends_page, inside = self._next_burst(m, s)
        byte_bits = beat_bytes(self.data_width).bit_length() - 1
        m.d.comb += [
            self.request.ready.eq(~s.active & ~self.cancel),
            self.outside_address.eq(Cat(Const(0, byte_bits), s.beat, s.page)),
            self.busy.eq(s.active | self.burst.valid),
        ]
        m.d.sync += self.outside.eq(s.active & s.sized & ~s.inside & ~self.cancel)
        with m.If(self.burst.ready):
            m.d.sync += self.burst.valid.eq(0)
        moves = Signal()
        m.d.comb += moves.eq(s.sized & s.inside & (self.burst.ready | ~self.burst.valid))
        self._advance(m, s, moves)
        with m.If(~s.active):
            m.d.sync += [
                s.sized.eq(0),
                s.active.eq(self.request.valid & self.request.ready & (self.request.p.beats != 0)),
            ]
        with m.Elif(~s.sized):
            m.d.sync += s.sized.eq(1)
            m.d.data += [
                s.burst_beats.eq(beats),
                s.ends_page.eq(ends_page),
                s.inside.eq(inside),
                s.next_page.eq(s.page + 1),
            ]
        with m.Elif(moves):
            m.d.sync += [
                self.burst.valid.eq(1),
                s.active.eq(s.left != s.burst_beats),
                s.sized.eq(0),
            ]
            m.d.data += [
                self.burst.p.address.eq(Cat(Const(0, byte_bits), s.beat, s.page + self.offset)),
                self.burst.p.length.eq(s.burst_beats - 1),
                self.burst.p.last.eq(s.left == s.burst_beats),
            ]
        with m.If(self.cancel):
            m.d.sync += s.active.eq(0)
        return m

    def _advance(self, m: Module, s: "_State", moves: Signal) -> None:
        """Takes a request's address and length, or what is left of the request after a burst."""
        beat, page, left = s.beat, s.page, s.left
        choice = Choice(ways=2, width=len(beat) + len(page) + len(left))
        m.submodules.choice = choice
        beat_after = Signal.like(beat)
        left_after = Signal.like(left)
        m.d.comb += [
            beat_after.eq(beat + s.burst_beats),
            left_after.eq(left - s.burst_beats),
            choice.words[0].eq(
                Cat(self.request.p.address[-len(beat) - len(page) :], self.request.p.beats)
            ),
            choice.words[1].eq(Cat(beat_after, s.next_page, left_after)),
            choice.select.eq(s.active),
        ]
        following = choice.chosen
        with m.If(~s.active | moves):
            m.d.data += Cat(beat, left).eq(Cat(following[: len(beat)], following[-len(left) :]))
        with m.If(~s.active | (moves & s.ends_page)):
            m.d.data += page.eq(following[len(beat) : -len(left)])

    def _next_burst(self, m: Module, s: "_State") -> tuple[Value, Value, Value]:
        """Its beats, whether it is its page's last one, and whether the window holds it."""
        in_burst = self.burst_beats.bit_length() - 1
        # Beats to the boundary, in tables because a comparison follows.
        behind, to_go = s.beat[:in_burst], Const(1)
        if in_burst:
            to_go = Cat(incremented(~behind), ~behind.any())
        # A burst may be as long as a page.
        last_in_page = s.beat[in_burst:].all() if in_burst < len(s.beat) else 1
        to_boundary = Signal.like(s.burst_beats)
        m.d.comb += to_boundary.eq(to_go)
        not_below = self._no_less(m, "compare_first", s.page, self.window_first)
        not_above = self._no_less(m, "compare_last", self.window_last, s.page)
        ends_page = last_in_page & (s.left >= to_boundary)
        return Mux(s.left < to_boundary, s.left, to_boundary), ends_page, not_below & not_above

    def _no_less(self, m: Module, name: str, a: Value, b: Value) -> Value:
        """Whether a >= b, for unsigned numbers of equal width."""
        comparison = Comparison(bits=len(a) + 1)
        m.submodules[name] = comparison
        m.d.comb += [
            comparison.a.eq(Cat(a, Const(0, 1))),
            comparison.b.eq(Cat(b, Const(0, 1))),
            # The result where both are equal.
            comparison.value.eq(1),
        ]
        return comparison.result


class _State:
    """The splitter's registers."""

    def __init__(self, splitter: BurstSplitter):
        # The address without the bits within a beat: number of the page, number of the beat in it.
        # They are apart so that no addition is longer than a page's number.
        byte_bits = beat_bytes(splitter.data_width).bit_length() - 1
        self.beat = Signal(_PAGE_SHIFT - byte_bits)
        self.page = Signal(page_bits(splitter.address_width))
        self.next_page = Signal.like(self.page)
        #: Beats of the request that are left.
        self.left = Signal(splitter.length_width)
        self.burst_beats = Signal(range(splitter.burst_beats + 1))
        #: A request is in progress.
        self.active = Signal()
        #: The next burst's length is known; so is whether it is inside the window and its page's
        #: last one.
        self.sized = Signal()
        self.inside = Signal()
        self.ends_page = Signal()


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
    if not 13 <= address_width <= 64:
        raise ValueError(f"Address width must be 13..64 bits, not {address_width!r}")
    if not 1 <= length_width <= 32:
        raise ValueError(f"Length width must be 1..32 bits, not {length_width!r}")
    limit = min(256, PAGE_BYTES // step)
    if burst_beats not in [2**n for n in range(9) if 2**n <= limit]:
        raise ValueError(
            f"Beats of a burst must be a power of two up to {limit} for "
            f"{data_width}-bit data, not {burst_beats!r}"
        )
