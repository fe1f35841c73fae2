"""Where things lie in the on-chip memories, and from when on a place may be overwritten."""

from hw.fold import CompileError

__all__ = ["Ring", "Scratchpad"]


class Scratchpad:
    """First-fit allocation of the activation memory, in words."""

    def __init__(self, depth: int):
        self._depth = depth
        self._used: list[tuple[int, int, str]] = []

    def allocate(self, name: str, words: int, what: str) -> int:
        """The first word of a free place; ``what`` names the layer in the error."""
        base = 0
        for start, end, _ in sorted(self._used):
            if start - base >= words:
                break
            base = max(base, end)
        if base + words > self._depth:
            held = sum(end - start for start, end, _ in self._used)
            raise CompileError(
                f"layer {what}: {words} words of the activation memory do not fit beside the "
                f"{held} in use; act_depth = {self._depth} is short by {base + words - self._depth}"
            )
        self._used.append((base, base + words, name))
        return base

    def free(self, name: str):
        self._used = [entry for entry in self._used if entry[2] != name]


class Ring:
    """Allocation of a memory that is filled ahead of use, one tile after the other.

    Every tile has a reader: the number of the compute command after which its words are free.
    """

    def __init__(self, depth: int):
        self.depth = depth
        self._next = 0
        #: (start, end, compute commands complete before it is free)
        self._tiles: list[tuple[int, int, int]] = []

    def allocate(self, words: int, reader: int) -> tuple[int, int]:
        """(first word, number of compute commands that must be complete before it is written)."""
        if words > self.depth:
            raise AssertionError(f"tile of {words} words in a memory of {self.depth}")
        start = self._next if self._next + words <= self.depth else 0
        end = start + words
        overlapping = [tile for tile in self._tiles if tile[0] < end and start < tile[1]]
        self._tiles = [tile for tile in self._tiles if tile not in overlapping]
        self._tiles.append((start, end, reader))
        self._next = end
        return start, max((free for _, _, free in overlapping), default=0)
