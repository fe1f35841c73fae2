"""How long a picture is in slots, and when each slot of each flow comes."""

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

#: Pictures looked at to see how they follow one another, more than ever are inside.
_PICTURES = 64


@dataclass(frozen=True)
class Frame:
    """The source's slots: ``rows`` of ``row`` for a picture, pauses in steps of ``pause`` rows."""

    rows: int
    row: int
    pause: int

    @property
    def slots(self) -> int:
        """Slots of a picture, positions or not."""
        return self.rows * self.row


def fitting_frame(grids: list[tuple[int, int, int, int]]) -> Frame:
    """The smallest frame for maps of (height, width, vertical stride, horizontal stride).

    Strides are against the source. All maps fit, and all begin together again in each picture.
    """
    pause = lcm(*(vertical for _, _, vertical, _ in grids))
    across = lcm(*(horizontal for _, _, _, horizontal in grids))
    rows = max(height * vertical for height, _, vertical, _ in grids)
    row = max(width * horizontal for _, width, _, horizontal in grids)
    return Frame(-(-rows // pause) * pause, -(-row // across) * across, pause)


@dataclass(frozen=True, eq=False)
class Timing:
    """When a flow's slots come.

    slots : for each slot of a picture, the number of the source's slot that brings it out, counted
        from the picture's first. Those of the next picture come ``frame.slots`` later.
    latency : cycles on top, at most.
    """

    slots: np.ndarray
    latency: int

    def at(self, frame: Frame, numbers: np.ndarray) -> np.ndarray:
        """The source's slots of the flow's slots of these numbers, in later pictures too."""
        picture, number = np.divmod(numbers, len(self.slots))
        return self.slots[number] + picture * frame.slots

    def pictures(self, frame: Frame, count: int) -> np.ndarray:
        """The source's slots of all slots of so many pictures."""
        return self.at(frame, np.arange(count * len(self.slots)))

    def positions(self, grid: Grid) -> "Timing":
        """Those slots alone that are positions of the map."""
        inside = self.slots.reshape(-1, grid.row)[: grid.height, : grid.width]
        return Timing(inside.reshape(-1), self.latency)


@dataclass(frozen=True, eq=False)
class Pace:
    """How fast the slots of one stretch of a circuit follow one another, which all in it count by.

    frame : slots of a picture.
    interval : cycles from one slot to the next at least.
    late : cycles from a slot of the circuit's source until it is one here, at most.
    begins : the cycle of each slot of some pictures, from the first one's beat, at full rate.
    """

    frame: Frame
    interval: int
    late: int
    begins: np.ndarray

    def paced(self, timing: Timing, row: int, cycles: int) -> "tuple[Pace, int] | None":
        """A pace at which slots of a flow come evenly, and how many of them may wait.

        row : slots of a row of the flow.
        cycles : that evening takes if a slot does not wait.

        None if they come evenly as it is.
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
        """Cycles from one slot of a flow to the next, at least."""
        slots = timing.slots
        return int(np.diff(slots, append=slots[0] + self.frame.slots).min()) * self.interval


def source_pace(frame: Frame, interval: int) -> Pace:
    """Of the circuit's source: a slot is known in the cycle after its beat."""
    return Pace(frame, interval, 1, 1 + np.arange(_PICTURES * frame.slots) * interval)


def waiting_slots(
    frame: Frame, mine: Timing, others: list[Timing], interval: int, cycles: int
) -> int:
    """Slots of one flow that wait for those of the others at most, however the source pauses.

    interval : cycles from one slot of the source to the next, or more.
    cycles : from a slot's coming to its leaving, when no other is awaited.

    A slot has left before another one comes if its partner's slot of the source was so much earlier
    that the cycles in which it is late are over. Pauses only add to them.
    """
    most = 0
    for other in others:
        late = -(-max(0, other.latency + cycles - mine.latency) // interval)
        # So many pictures that the first one's slots have left.
        lag = max(0, int((other.slots - mine.slots).max()))
        pictures = 3 + (lag + late) // frame.slots
        arrivals = mine.pictures(frame, pictures)
        gone = np.searchsorted(other.pictures(frame, pictures), arrivals - late, "right")
        most = max(most, int((np.arange(1, len(arrivals) + 1) - gone).max()))
    return most


def most_results(frame: Frame, grid: Grid, timing: Timing, slots: int) -> int:
    """Positions of a flow that come within so many slots of the source, at most."""
    times = timing.positions(grid).pictures(frame, 2 + slots // frame.slots)
    return int((np.searchsorted(times, times + slots, "left") - np.arange(len(times))).max())
