"""Several AXI ports act as one: each carries its share of every beat."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.timing import BURST_BEATS
from hw.rtl.axi.bursts import page_bits, request_layout
from hw.rtl.axi.bus import AxiReadSignature, AxiWriteSignature
from hw.rtl.axi.read_dma import AxiReader, read_data_layout
from hw.rtl.axi.write_dma import AxiWriter
from hw.rtl.cells.counting import stepped
from hw.rtl.component import Component

__all__ = ["StripedReader", "StripedWriter"]


class _Striped(Component):
    """What reader and writer have in common.

    A beat is ``ports * data_width`` bits wide. Beat b of a request for address a: port i carries
    the ``data_width`` bits from bit ``i * data_width`` on, at address
    ``a + i * stripe + b * data_width // 8``. So memory is cut into one stripe for each port, and
    addresses and lengths count one port's bytes.

    A port may run ahead of the others as far as its buffers allow. With one port this is that
    port's reader or writer and nothing more.
    """

    _kind: type[AxiReader] | type[AxiWriter]

    def __init__(
        self,
        *,
        ports: int,
        address_width: int,
        data_width: int,
        outstanding: int,
        length_width: int,
        burst_beats: int = BURST_BEATS,
    ):
        if not isinstance(ports, int):
            raise TypeError(f"Ports must be an integer, not {ports!r}")
        if ports < 1:
            raise ValueError(f"Ports must be 1 or more, not {ports!r}")
        self.ports = ports
        self.address_width = address_width
        self.data_width = data_width
        self.outstanding = outstanding
        self.length_width = length_width
        self.burst_beats = burst_beats
        pages = page_bits(address_width)
        super().__init__({
            "request": In(stream.Signature(request_layout(address_width, length_width))),
            "stripe": In(pages),
            "window_first": In(pages),
            "window_last": In(pages, init=-1),
            "outside": Out(1),
            "outside_address": Out(address_width),
            "error": Out(1),
            "error_address": Out(address_width),
            "cancel": In(1),
            "busy": Out(1),
            **self._members(),
        })  # fmt: skip

    def _parts(self, m: Module) -> list:
        """Adds a reader or writer for each port and connects what both have."""
        parts = [
            self._kind(
                address_width=self.address_width,
                data_width=self.data_width,
                outstanding=self.outstanding,
                length_width=self.length_width,
                burst_beats=self.burst_beats,
            )
            for _ in range(self.ports)
        ]
        # A request is taken once all ports have taken it; ports that have it wait for the others.
        served = Signal(self.ports)
        takes = Signal(self.ports)
        m.d.comb += self.request.ready.eq((served | takes).all())
        with m.If(self.request.valid):
            m.d.sync += served.eq(served | takes)
        with m.If((self.request.valid & self.request.ready) | self.cancel):
            m.d.sync += served.eq(0)
        for index, part in enumerate(parts):
            m.submodules[f"port_{index}"] = part
            wiring.connect(m, part.axi, wiring.flipped(self.axi[index]))
            # It does not change while anything is under way.
            offset = Signal(len(self.stripe), name=f"offset_{index}")
            if index:
                m.d.sync += offset.eq(_times(self.stripe, index))
            m.d.comb += [
                part.request.payload.eq(self.request.payload),
                part.request.valid.eq(self.request.valid & ~served[index]),
                takes[index].eq(part.request.ready),
                part.window_first.eq(self.window_first),
                part.window_last.eq(self.window_last),
                part.offset.eq(offset),
                part.cancel.eq(self.cancel),
            ]
        m.d.comb += [
            self.busy.eq(reduce(or_, (part.busy for part in parts)) | served.any()),
            # All ports leave the window at the same address.
            self.outside.eq(reduce(or_, (part.outside for part in parts))),
            self.error.eq(reduce(or_, (part.error for part in parts))),
        ]
        for flag in ("outside", "error"):
            # The choice is by number: then one table chooses a bit of four addresses.
            number = reduce(
                lambda others, index: Mux(getattr(parts[index], flag), index, others),
                reversed(range(self.ports)),
            )
            addresses = Array(getattr(part, f"{flag}_address") for part in parts)
            m.d.comb += getattr(self, f"{flag}_address").eq(addresses[number])
        return parts


class StripedReader(_Striped):
    """As many :class:`hw.rtl.axi.read_dma.AxiReader` as there are ports, in step.

    A beat is valid when all ports have their share of it. Latencies and rates are those of a single
    reader; the slowest port decides.

    Parameters
    ----------
    ports : int
        AXI ports, 1 or more.
    address_width, data_width, outstanding, length_width, burst_beats : int
        Of each port, as for a single reader.

    Members
    -------
    axi : ``Out(AxiReadSignature(address_width, data_width)).array(ports)``
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
        ``address`` is port 0's; ``beats`` count beats of all ports together.
    data : ``Out(stream.Signature(read_data_layout(ports * data_width)))``
    stripe : ``In(page_bits(address_width))``
        Pages from the beginning of one port's stripe to the next one's. Change it only while idle.
    window_first, window_last, outside, outside_address
        As for a single reader; port 0's addresses are compared.
    error, error_address
        As for a single reader. If several ports have an error in one cycle, the address of the
        first of them.
    cancel, busy
        As for a single reader.
    """

    _kind = AxiReader

    def _members(self) -> dict:
        return {
            "axi": Out(AxiReadSignature(self.address_width, self.data_width)).array(self.ports),
            "data": Out(stream.Signature(read_data_layout(self.ports * self.data_width))),
        }

    def build(self) -> Module:
        m = Module()
        parts = self._parts(m)
        m.d.comb += [
            self.data.valid.eq(reduce(and_, (part.data.valid for part in parts))),
            self.data.p.data.eq(Cat(part.data.p.data for part in parts)),
            self.data.p.last.eq(parts[0].data.p.last),
        ]
        for part in parts:
            m.d.comb += part.data.ready.eq(self.data.valid & self.data.ready)
        return m


class StripedWriter(_Striped):
    """As many :class:`hw.rtl.axi.write_dma.AxiWriter` as there are ports, in step.

    A beat is taken when all ports have room for their share of it. A request is done when all ports
    have done it. Latencies and rates are those of a single writer; the slowest port decides.

    Parameters
    ----------
    ports : int
        AXI ports, 1 or more.
    address_width, data_width, outstanding, length_width, burst_beats : int
        Of each port, as for a single writer.

    Members
    -------
    axi : ``Out(AxiWriteSignature(address_width, data_width)).array(ports)``
    request : ``In(stream.Signature(request_layout(address_width, length_width)))``
        ``address`` is port 0's; ``beats`` count beats of all ports together.
    data : ``In(stream.Signature(ports * data_width))``
    done : ``Out(1)``
        High for one cycle for each request, after the responses to its last bursts.
    stripe : ``In(page_bits(address_width))``
        Pages from the beginning of one port's stripe to the next one's. Change it only while idle.
    window_first, window_last, outside, outside_address
        As for a single writer; port 0's addresses are compared.
    error, error_address
        As for a single writer. If several ports have an error in one cycle, the address of the
        first of them.
    cancel, busy
        As for a single writer.
    """

    _kind = AxiWriter

    def _members(self) -> dict:
        return {
            "axi": Out(AxiWriteSignature(self.address_width, self.data_width)).array(self.ports),
            "data": In(stream.Signature(self.ports * self.data_width)),
            "done": Out(1),
        }

    def build(self) -> Module:
        m = Module()
        parts = self._parts(m)
        m.d.comb += self.data.ready.eq(reduce(and_, (part.data.ready for part in parts)))
        for index, part in enumerate(parts):
            m.d.comb += [
                part.data.payload.eq(self.data.payload.word_select(index, self.data_width)),
                part.data.valid.eq(self.data.valid & self.data.ready),
            ]
        if self.ports == 1:
            m.d.comb += self.done.eq(parts[0].done)
            return m
        # Requests that a port has done and another has not. A port can be ahead by the bursts that
        # may be under way, the one that is offered, and the request that is being split.
        ahead = [
            Signal(range(self.outstanding + 4), name=f"ahead_{index}")
            for index in range(self.ports)
        ]
        m.d.comb += self.done.eq(reduce(and_, (count != 0 for count in ahead)))
        for count, part in zip(ahead, parts, strict=True):
            m.d.sync += count.eq(stepped(count, part.done, self.done))
            with m.If(self.cancel):
                m.d.sync += count.eq(0)
        return m


def _times(value: Value, factor: int) -> Value:
    """``value * factor`` by additions."""
    return sum(value << bit for bit in range(factor.bit_length()) if factor >> bit & 1)
