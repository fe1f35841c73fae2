"""Allocates the on-chip memories, and says when words may be written again."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

__all__ = ["Buffer", "NoRoom", "Ring", "Scratchpad"]


#: Buffers of more than this part of the memory are large.
_LARGE = 4
#: Of smaller ones, those of more than this part are of medium size.
_MEDIUM = 20
#: Compute commands, roughly, that run beside a store.
_STORED_IN = 8


class NoRoom(Exception):
    """The memory has no gap of so many words."""


@dataclass(eq=False)
class Buffer:
    """Words of the activation memory that a strip occupies.

    The counts say how many commands of an engine must be complete before something is true:

    loaded : loads have written it.
    written : compute commands have written it.
    used : compute commands have read or written it.
    stored : stores have read it.
    leaving : compute commands before the last store.
    """

    base: int
    words: int
    loaded: int = 0
    written: int = 0
    used: int = 0
    stored: int = 0
    leaving: int = 0

    def overlaps(self, other: "Buffer") -> bool:
        return self.base < other.base + other.words and other.base < self.base + self.words


class Scratchpad:
    """Allocation of the activation memory, in words.

    Small buffers lie as low as possible, large ones as high as possible. What is freed in between
    is then one hole, not many.

    alternating : buffers of medium size lie low and high in turn. Of layers that follow each other
        every second map is freed, so large holes remain beside maps that stay for long.
    """

    def __init__(self, depth: int, *, alternating: bool = False):
        self.depth = depth
        self._alternating = alternating
        #: Whether the last one of medium size lies high.
        self._high = True
        self._live: list[Buffer] = []
        #: Freed buffers. New content waits for the commands that still use them.
        self._past: list[Buffer] = []

    def allocate(self, words: int, *, fresh: bool = False) -> Buffer:
        """Raises :exc:`NoRoom`. A ``fresh`` buffer lies where commands were done longest ago."""
        ends = [0, *(buffer.base + buffer.words for buffer in self._live)]
        begins = [self.depth, *(buffer.base for buffer in self._live)]
        holes = [
            (end, min(begin for begin in begins if begin >= end))
            for end in sorted(ends)
            if any(begin >= end for begin in begins)
        ]
        fitting = [(start, end) for start, end in holes if end - start >= words]
        if not fitting:
            raise NoRoom(words)
        high = words * _LARGE > self.depth
        if self._alternating and not high and words * _MEDIUM > self.depth:
            high = self._high = not self._high
        base = fitting[-1][1] - words if high else fitting[0][0]
        if fresh:
            base = min(self._ends(fitting, words), key=lambda base: (self._last(base, words), base))
        buffer = Buffer(base, words)
        for past in self._past:
            if past.overlaps(buffer):
                buffer.loaded = max(buffer.loaded, past.loaded)
                buffer.used = max(buffer.used, past.used)
                buffer.stored = max(buffer.stored, past.stored)
        self._live.append(buffer)
        return buffer

    def _ends(self, holes: list[tuple[int, int]], words: int) -> Iterator[int]:
        """Places in the holes at the end of one, or beside something that was freed."""
        places = {place for start, end in holes for place in (start, end - words)}
        for past in self._past:
            places |= {past.base - words, past.base + past.words}
        for place in places:
            if any(start <= place <= end - words for start, end in holes):
                yield place

    def _last(self, base: int, words: int) -> int:
        """How many compute commands are about complete when these words are free."""
        buffer = Buffer(base, words)
        return max(
            (
                max(past.used, past.leaving and past.leaving + _STORED_IN)
                for past in self._past
                if past.overlaps(buffer)
            ),
            default=0,
        )

    def free(self, buffer: Buffer):
        self._live.remove(buffer)
        covered = [
            past
            for past in self._past
            if buffer.base <= past.base and past.base + past.words <= buffer.base + buffer.words
        ]
        # The new buffer has taken over the counts of those that it lies on.
        self._past = [past for past in self._past if past not in covered]
        self._past.append(buffer)


class _Span(NamedTuple):
    """Words ``start`` to before ``end``, free after ``reader`` compute commands."""

    start: int
    end: int
    reader: int
    #: Number of spans before this one.
    number: int


class Ring:
    """Allocation of a memory that is filled ahead of use, one filter tile after the other.

    The words of a tile are free after a number of compute commands: its reader.
    """

    def __init__(self, depth: int):
        self.depth = depth
        self._next = 0
        #: In the order of their words; they do not overlap.
        self._spans: list[_Span] = []
        self._count = 0

    def allocate(self, words: int, reader: int) -> tuple[int, int]:
        """The first word, and how many compute commands must be complete before it is written."""
        if words > self.depth:
            raise AssertionError(f"tile of {words} words in a memory of {self.depth}")
        # The place with the shortest wait. If equal: behind the newest span, at the beginning, or
        # behind the oldest one.
        first = [(self._next, -2), (0, -1)]
        wait, _, start = min(
            chain(
                (
                    (self._wait(start, words), number, start)
                    for start, number in first
                    if start + words <= self.depth
                ),
                self._behind(words),
            )
        )
        self._spans[self._within(start, words)] = [_Span(start, start + words, reader, self._count)]
        self._next = start + words
        self._count += 1
        return start, wait

    def _behind(self, words: int) -> Iterator[tuple[int, int, int]]:
        """The places behind each span: the wait, the span's number, the first word.

        They are looked at in order, so the spans that overlap ``words`` words there are a window
        that only moves on. Of those in it, only the ones with a longer wait than all that follow
        are kept: the first one has the longest.
        """
        longest: deque[int] = deque()
        seen = 0
        for place, span in enumerate(self._spans):
            end = span.end + words
            if end > self.depth:
                break
            while seen < len(self._spans) and self._spans[seen].start < end:
                reader = self._spans[seen].reader
                while longest and self._spans[longest[-1]].reader <= reader:
                    longest.pop()
                longest.append(seen)
                seen += 1
            while longest and longest[0] <= place:
                longest.popleft()
            yield self._spans[longest[0]].reader if longest else 0, span.number, span.end

    def _wait(self, start: int, words: int) -> int:
        return max((span.reader for span in self._spans[self._within(start, words)]), default=0)

    def _within(self, start: int, words: int) -> slice:
        """The spans that overlap these words."""
        first = bisect_right(self._spans, start, key=lambda span: span.end)
        end = bisect_left(self._spans, start + words, key=lambda span: span.start)
        return slice(first, end)
