"""Feature maps in time: one slot for each position, row after row."""

from dataclasses import dataclass

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import PureInterface

__all__ = ["Grid", "flow", "flow_flags"]


@dataclass(frozen=True)
class Grid:
    """Where the positions of a map are in its flow.

    A flow never waits. Its slots follow one another like the pixels of a scanned image. A row has
    ``row`` slots. The first ``width`` of them hold the map's positions, the others are ignored.
    After the map's last row come further rows that are ignored, until the next map begins.
    A map of one position takes exactly one slot.

    height, width : size of the map in positions.
    row : slots from a position to the one below it.
    """

    height: int
    width: int
    row: int

    @property
    def single(self) -> bool:
        """Whether each map takes exactly one slot."""
        return self.height == self.width == 1


def flow(bits: int) -> stream.Signature:
    """Slots of ``bits`` bits, channel 0 in the lowest ones; ``first`` marks a map's first slot."""
    layout = data.StructLayout({"first": unsigned(1), "data": unsigned(bits)})
    return stream.Signature(layout, always_ready=True)


def flow_flags(m: Module, i: PureInterface, latency: int) -> tuple[Signal, Signal]:
    """Whether a slot of the :func:`flow` ``i`` came 1, 2, ... ``latency`` cycles ago, lowest bit
    first, and whether that was a map's first one."""
    valid = Signal(latency)
    first = Signal(latency, reset_less=True)
    m.d.sync += [
        valid.eq((valid << 1) | i.valid),
        first.eq((first << 1) | i.payload.first),
    ]
    return valid, first
