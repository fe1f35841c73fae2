"""The events of a model, in the order of time."""

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["Timeline"]


class Timeline:
    """Calls functions at their times, those of one time in the order in which they came.

    now : the time of the function that is being called, in cycles.
    """

    def __init__(self, now: float):
        self.now = now
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._entries = count()

    def at(self, time: float, happen: Callable[[], None]) -> None:
        """Calls ``happen`` at that time, or now if it is past."""
        heapq.heappush(self._events, (max(time, self.now), next(self._entries), happen))

    def play(self) -> None:
        """Calls the functions in order, until none is left."""
        while self._events:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
