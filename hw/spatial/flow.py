"""Feature maps in time: one slot for each position, row after row."""

from dataclasses import dataclass

from amaranth.hdl import unsigned
from amaranth.lib import data, stream

__all__ = ["Grid", "flow"]


@dataclass(frozen=True)
class Grid:
    """Where the positions of a map are in its flow.

    A flow never waits. Its slots follow one another like those of a picture that is scanned:
    ``row`` of them are a row, the first ``width`` of which hold the map's positions. What comes in
    the others is not looked at. Rows go on after the map's last one, until the next map begins.
    A map of one position has no such slots: it takes one slot.

    height, width : of the map.
    row : slots from a position to the one below it.
    """

    height: int
    width: int
    row: int

    @property
    def single(self) -> bool:
        """One slot for each map."""
        return self.height == self.width == 1


def flow(bits: int) -> stream.Signature:
    """Slots of ``bits`` bits, channel 0 in the low ones; ``first`` begins a map."""
    layout = data.StructLayout({"first": unsigned(1), "data": unsigned(bits)})
    return stream.Signature(layout, always_ready=True)
