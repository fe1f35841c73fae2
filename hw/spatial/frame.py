"""How many slots an image takes, and when each slot of each flow comes."""

from dataclasses import dataclass
from math import lcm

import numpy as np

from hw.spatial.flow import Grid

__all__ = [
    "Frame",
    "Pace",
    "Timing",
    "fitting_frame",
    "most_results",
    "source_pace",
    "waiting_slots",
]

#: Images that a timing is worked out for: more than are ever inside a circuit at once.
_PICTURES = 64


@dataclass(frozen=True)
class Frame:
    """The source's slots: ``rows`` rows of ``row`` for an image, ``pause`` rows for a pause."""

    rows: int
    row: int
    pause: int

    @property
    def slots(self) -> int:
        """Slots of an image, with and without a position."""
        return self.rows * self.row


def fitting_frame(grids: list[tuple[int, int, int, int]]) -> Frame:
    """The smallest frame for maps of (height, width, vertical stride, horizontal stride).

    Strides count positions of the source. All maps fit, and all begin anew with each image.
    """
    pause = lcm(*(vertical for _, _, vertical, _ in grids))
    across = lcm(*(horizontal for _, _, _, horizontal in grids))
    rows = max(height * vertical for height, _, vertical, _ in grids)
    row = max(width * horizontal for _, width, _, horizontal in grids)
    return Frame(-(-rows // pause) * pause, -(-row // across) * across, pause)


@dataclass(frozen=True, eq=False)
class Timing:
    """When a flow's slots come.

    slots : for each slot of an image, the number of the source's slot that brings it out, counted
        from the image's first. The slots of the next image come ``frame.slots`` later.
    latency : at most so many cycles from the source's slot to this one.
    """

    slots: np.ndarray
    latency: int

    def at(self, frame: Frame, numbers: np.ndarray) -> np.ndarray:
        """The source's slots that bring out the flow's slots ``numbers``, over several images."""
        picture, number = np.divmod(numbers, len(self.slots))
        return self.slots[number] + picture * frame.slots

    def pictures(self, frame: Frame, count: int) -> np.ndarray:
        """The source's slots that bring out all slots of the first ``count`` images."""
        return self.at(frame, np.arange(count * len(self.slots)))

    def positions(self, grid: Grid) -> "Timing":
        """The timing of only those slots that are positions of the map."""
        inside = self.slots.reshape(-1, grid.row)[: grid.height, : grid.width]
        return Timing(inside.reshape(-1), self.latency)


@dataclass(frozen=True, eq=False)
class Pace:
    """How fast slots follow one another in one stretch of a circuit; its timings count them.

    frame : slots of an image.
    interval : fewest cycles from one slot to the next.
    late : most cycles from a slot of the circuit's source to the same slot here.
    begins : the cycle of each slot of some images, from the first one's beat, at full rate.
    """

    frame: Frame
    interval: int
    late: int
    begins: np.ndarray

    def paced(self, timing: Timing, row: int, cycles: int) -> "tuple[Pace, int] | None":
        """A pace at which slots of a flow come evenly, and the most slots that wait for it.

        row : slots of a row of the flow.
        cycles : latency of the component that makes them even, for a slot that does not wait.

        None if the slots come evenly already.
        """
        count, period = len(timing.slots), self.frame.slots * self.interval
        interval = period // count
        if interval <= self.spacing(timing):
            return None
        # No window has more slots than at full rate, however the source pauses.
        arrivals = timing.pictures(self.frame, _PICTURES) * self.interval
        numbers = np.arange(len(arrivals)) * interval
        leaving = numbers + np.maximum.accumulate(arrivals - numbers)
        gone = np.searchsorted(leaving, arrivals, "left")
        waiting = int((np.arange(1, len(arrivals) + 1) - gone).max())
        rows = count // row
        frame = Frame(rows, row, self.frame.pause * rows // self.frame.rows)
        late = self.late + timing.latency + cycles + int((leaving - arrivals).max())
        known = timing.pictures(self.frame, _PICTURES)
        known = self.begins[known[known < len(self.begins)]] + timing.latency + cycles
        numbers = numbers[: len(known)]
        begins = numbers + np.maximum.accumulate(known - numbers)
        return Pace(frame, interval, late, begins), waiting

    def spacing(self, timing: Timing) -> int:
        """Fewest cycles from one slot of a flow to the next."""
        slots = timing.slots
        return int(np.diff(slots, append=slots[0] + self.frame.slots).min()) * self.interval


def source_pace(frame: Frame, interval: int) -> Pace:
    """The pace of the circuit's source: a slot is known in the cycle after its beat."""
    return Pace(frame, interval, 1, 1 + np.arange(_PICTURES * frame.slots) * interval)


def waiting_slots(
    frame: Frame, mine: Timing, others: list[Timing], interval: int, cycles: int
) -> int:
    """Most slots of one flow that wait for those of the others, however the source pauses.

    interval : fewest cycles from one slot of the source to the next.
    cycles : from a slot's coming to its leaving, when it waits for no other.

    A slot leaves together with its partners in the other flows. It has left before a later slot
    comes if the source's slots of all partners were early enough to make up for their latency.
    Pauses only make that time longer.
    """
    most = 0
    for other in others:
        late = -(-max(0, other.latency + cycles - mine.latency) // interval)
        # As many images as it takes until the first one's slots have left.
        lag = max(0, int((other.slots - mine.slots).max()))
        pictures = 3 + (lag + late) // frame.slots
        arrivals = mine.pictures(frame, pictures)
        gone = np.searchsorted(other.pictures(frame, pictures), arrivals - late, "right")
        most = max(most, int((np.arange(1, len(arrivals) + 1) - gone).max()))
    return most


def most_results(frame: Frame, grid: Grid, timing: Timing, slots: int) -> int:
    """Most positions of a flow that come within ``slots`` slots of the source."""
    times = timing.positions(grid).pictures(frame, 2 + slots // frame.slots)
    return int((np.searchsorted(times, times + slots, "left") - np.arange(len(times))).max())
