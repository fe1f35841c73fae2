"""How long loads of activations take while the drain writes: in its banks they have to wait."""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from hw.config import AcceleratorConfig
from hw.memory.banks import bank_of

__all__ = ["DrainedWords", "loaded"]


class DrainedWords:
    """The words that a compute command writes, cycle by cycle.

    ``begin`` is when its first ones are written; groups follow each other every ``interval``
    cycles.
    """

    def __init__(self, config: AcceleratorConfig, fields: dict, begin: float, interval: int):
        self._config = config
        self._fields = fields
        self._begin = begin
        self._interval = interval
        self._groups = -(-fields["positions"] // fields["pixels"])
        self._all_groups = self._groups * fields["filter_groups"]
        self._turns = config.drain_turns(fields["pixels"])
        self._masks = cache(self._masks_of_plane)
        self.end = begin + self._all_groups * interval

    def cycles(self, since: float) -> Iterator[tuple[float, int]]:
        """Times from ``since`` on, in order, and the banks written then, a bit for each."""
        chunks, sub = self._fields["chunks"], self._fields["sub"]
        words = self._config.lanes // self._config.post_lanes
        first = max(0, int((since - self._begin) // self._interval))
        for number in range(first, self._all_groups):
            filter_group, group = divmod(number, self._groups)
            begin = self._begin + number * self._interval
            for turn in range(self._turns):
                for chunk in range(chunks):
                    time = begin + turn * chunks + chunk
                    if time >= since:
                        plane = (sub + filter_group * chunks + chunk) // words
                        yield time, self._masks(plane)[group][turn]

    def _masks_of_plane(self, plane: int) -> list[list[int]]:
        """For each group and turn the banks of its words in a plane."""
        fields, together = self._fields, self._config.post_positions
        rows, columns = np.divmod(np.arange(fields["positions"]), fields["out_width"])
        pitch = np.int16(fields["out_wrap"]) + fields["out_width"] - 1
        words = fields["out_base"] + plane * fields["out_plane"] + rows * pitch + columns
        masks = np.zeros((self._groups, self._turns * together), np.int64)
        bits = np.zeros(self._groups * fields["pixels"], np.int64)
        bits[: len(words)] = 1 << bank_of(words, self._config.banks)
        masks[:, : fields["pixels"]] = bits.reshape(self._groups, -1)
        turns = masks.reshape(self._groups, self._turns, together)
        return np.bitwise_or.reduce(turns, axis=2).tolist()


def loaded(
    config: AcceleratorConfig,
    fields: dict,
    begin: float,
    word_cycles: float,
    drains: Iterable[DrainedWords],
) -> float:
    """When the last word of a load is written.

    Its beats come from ``begin`` on, a word every ``word_cycles``. A word that has to wait holds up
    the next one's last beat.
    """
    rows, columns = np.divmod(np.arange(fields["rows"] * fields["words"]), fields["words"])
    words = fields["base"] + rows * fields["base_stride"] + columns
    banks = (1 << bank_of(words, config.banks)).tolist()
    count, done = len(banks), 0
    # When the next word is there, when it can be written, and when the last one was.
    there = tried = begin + word_cycles
    written = begin
    for drained in drains:
        if drained.end <= tried:
            continue
        for time, mask in drained.cycles(tried - 1):
            while tried < time and done < count:
                # All before the drain's next cycle; one that has waited comes by itself.
                free = 1
                if tried == there:
                    free = min(count - done, -int((there - time) // word_cycles))
                written = tried + (free - 1) * word_cycles
                done += free
                there = tried = max(there + free * word_cycles, written + 1)
            if tried < time + 1 and done < count:
                if banks[done] & mask:
                    tried = time + 1
                else:
                    written = tried
                    done += 1
                    there = tried = max(there + word_cycles, written + 1)
            if done == count:
                return written
    rest = count - done - 1
    return tried if not rest else max(there + word_cycles, tried + 1) + (rest - 1) * word_cycles
