"""How long loads and stores of activations take while the array computes.

A load waits while the drain writes to its bank, a store while the array reads from its bank.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from hw.contract.banks import bank_of
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Compute, Load, Product, Store
from hw.contract.timing import STORE_AHEAD
from hw.model.pace import Pace

__all__ = ["DrainedWords", "ReadWords", "loaded", "stored"]


class DrainedWords:
    """The words that a compute command writes, cycle by cycle.

    The first ones are written at ``begin``. A group follows the one before after ``interval``
    cycles.
    """

    def __init__(self, config: AcceleratorConfig, command: Compute, begin: float, interval: int):
        self._config = config
        self._command = command
        self._begin = begin
        self._interval = interval
        self._groups = -(-command.positions // command.pixels)
        self._all_groups = self._groups * command.filter_groups
        self._turns = config.drain_turns(command.pixels)
        self._masks = cache(self._masks_of_plane)
        self.end = begin + self._all_groups * interval

    def cycles(self, since: float) -> Iterator[tuple[float, int]]:
        """(time, banks) from ``since`` on, in order; ``banks`` has a bit for each bank written."""
        chunks, sub = self._command.chunks, self._command.sub
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
        command, together = self._command, self._config.post_positions
        rows, columns = np.divmod(np.arange(command.positions), command.out_width)
        step = command.out_step
        pitch = np.int16(command.out_wrap) + (command.out_width - 1) * step
        words = command.out_base + plane * command.out_plane + rows * pitch + columns * step
        masks = np.zeros((self._groups, self._turns * together), np.int64)
        bits = np.zeros(self._groups * command.pixels, np.int64)
        bits[: len(words)] = 1 << bank_of(words, self._config.banks)
        masks[:, : command.pixels] = bits.reshape(self._groups, -1)
        turns = masks.reshape(self._groups, self._turns, together)
        return np.bitwise_or.reduce(turns, axis=2).tolist()


def loaded(
    config: AcceleratorConfig,
    command: Load,
    begin: float,
    pace: Pace,
    drains: Iterable[DrainedWords],
) -> float:
    """The time when the last word of a load is written.

    Its beats come from ``begin`` on, at ``pace``. A word that waits holds up the last beat of the
    next word.
    """
    drained = (cycle for words in drains if words.end > begin for cycle in words.cycles(begin))
    time, mask = next(drained, (math.inf, 0))
    there = written = begin
    for bank in _transfer_banks(config, command):
        there = written = max(pace.end(there, 1), written + 1)
        while time <= written:
            if written < time + 1 and bank & mask:
                written = time + 1
            time, mask = next(drained, (math.inf, 0))
    return written


class ReadWords:
    """The words that a compute command reads, step by step.

    The first step is at ``begin``, the last step of the first group at ``end_first``. The last step
    of each further group follows ``interval`` cycles after the one before. Only last steps wait.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        command: Compute,
        begin: float,
        end_first: float,
        interval: int,
    ):
        self._config = config
        self._command = command
        self.begin = begin
        self._end_first = end_first
        self._interval = interval
        self._groups = -(-command.positions // command.pixels)
        all_groups = self._groups * command.filter_groups
        self._masks = cache(self._masks_of_filter_group)
        self.end = end_first + (all_groups - 1) * interval

    def banks(self, time: float) -> int:
        """A bit for each bank that is read at ``time``, where ``begin <= time <= end``."""
        number = max(0, math.ceil((time - self._end_first) / self._interval))
        end = self._end_first + number * self._interval
        begin = end - self._interval + 1 if number else self.begin
        filter_group, group = divmod(number, self._groups)
        steps = self._masks(filter_group)[group]
        if time == end:
            return steps[-1]
        step = int(time - begin)
        return steps[step] if step < len(steps) - 1 else 0

    def _masks_of_filter_group(self, filter_group: int) -> list[list[int]]:
        """For each group the banks of its words, step by step."""
        c = self._command
        shape = (c.channel_groups, c.kernel_h, c.kernel_w)
        groups, rows, columns = np.indices(shape).reshape(3, -1)
        across, down, deep = (_signed(getattr(c, name)) for name in _TAP_STRIDES)
        down += (c.kernel_w - 1) * across
        deep += (c.kernel_h - 1) * down + (c.kernel_w - 1) * across
        taps = groups * deep + rows * down + columns * across
        if c.product:
            # Only the factor's word does not follow from the others.
            taps = np.where(groups == 0, _signed(c.factor), 0) + columns * across
        rows, columns = np.divmod(np.arange(c.positions), c.out_width)
        step = _signed(c.column_step)
        pitch = (c.out_width - 1) * step + _signed(c.origin_wrap)
        origins = c.in_base + filter_group * _signed(c.group_origin)
        origins = origins + rows * pitch + columns * step
        words = origins[:, None] + taps
        if c.product & Product.SHARED:
            words = np.where(groups == 0, taps, words)
        if c.adds & 4:
            # Each position has the words of all taps, of which some are those of others.
            words = words[:, :, None] + np.arange(self._config.depthwise_taps)
        words %= self._config.act_depth
        bits = np.zeros((self._groups * c.pixels, len(taps)), np.int64)
        read = 1 << bank_of(words, self._config.banks)
        bits[: len(words)] = np.bitwise_or.reduce(read, axis=2) if words.ndim == 3 else read
        return np.bitwise_or.reduce(bits.reshape(self._groups, c.pixels, -1), axis=1).tolist()


#: Fields with the distance from a tap to the next one in its row, from a row's last tap to the next
#: row, and from a plane's last tap to the next plane.
_TAP_STRIDES = ("tap_column", "tap_row_origin", "tap_group_origin")


def _signed(value: int) -> int:
    """The signed number in a field of 16 bits."""
    return int(np.int16(np.uint16(value)))


def stored(
    config: AcceleratorConfig,
    command: Store,
    begin: float,
    pace: Pace,
    reads: Iterable[ReadWords],
) -> float:
    """The time when the last word of a store has left, at ``pace`` or more slowly.

    The first word is read at ``begin``, if its bank is free. ``reads`` are in order.
    """
    banks = _transfer_banks(config, command)
    later = iter(reads)
    read = next(later, None)
    gone: list[float] = []
    time, last = begin, -math.inf
    for number, bank in enumerate(banks):
        if number >= STORE_AHEAD:
            time = max(time, math.ceil(gone[number - STORE_AHEAD]))
        while read is not None:
            if time > read.end:
                read = next(later, None)
            elif time < read.begin or not read.banks(time) & bank:
                break
            else:
                time += 1
        last = max(time, pace.end(last, 1))
        gone.append(last)
        time += 1
    return last


def _transfer_banks(config: AcceleratorConfig, command: Load | Store) -> list[int]:
    """A bit for the bank of each word of a load or store, in order."""
    rows, columns = np.divmod(np.arange(command.rows * command.words), command.words)
    words = command.base + rows * command.base_stride + columns
    return (1 << bank_of(words, config.banks)).tolist()
