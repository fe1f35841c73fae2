"""Intervals of codes per channel, and the intervals of their sums."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Interval", "Step", "dot", "ends", "joined", "span", "weighted"]

#: Number of weights that are added up at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Interval:
    """Smallest and largest code per channel: arrays of C entries, or of one for all channels."""

    low: np.ndarray
    high: np.ndarray

    def expand(self, channels: int) -> "Interval":
        return Interval(np.broadcast_to(self.low, channels), np.broadcast_to(self.high, channels))


@dataclass(frozen=True, kw_only=True)
class Step:
    """The bounds that one node adds to those of a graph."""

    values: Interval
    partial: tuple[int, int] | None = None
    wide: tuple[int, int] | None = None
    magnitude: int = 0


def dot(weight: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """``weight @ codes`` without rounding; weight (O, I) is not negative, codes (I,)."""
    largest = int(weight.max()) * max(abs(int(codes.min())), abs(int(codes.max())))
    if largest * weight.shape[1] < 1 << 63:
        return weight @ codes
    return weight.astype(object) @ codes.astype(object)


def span(plus: np.ndarray, minus: np.ndarray, low: np.ndarray, high: np.ndarray) -> Interval:
    """Interval of ``(plus - minus) @ codes`` for ``low <= codes <= high``."""
    return Interval(
        dot(plus, low) - dot(minus, high),
        dot(plus, high) - dot(minus, low),
    )


def joined(parts: list[Interval]) -> Interval:
    return Interval(
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.high for part in parts]),
    )


def ends(interval: Interval) -> tuple[int, int]:
    return int(interval.low.min()), int(interval.high.max())


def weighted(weight: np.ndarray, groups: int, source: Interval, padded: bool) -> Step:
    """Sums of products, output channel by output channel.

    weight : (Cout, Cin / groups, ...).
    padded : whether terms can be missing from a sum.
    """
    weight = weight.reshape(*weight.shape[:2], -1)
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    source = source.expand(groups * inputs)
    below, above = np.minimum(source.low, 0), np.maximum(source.high, 0)
    largest = np.maximum(-below, above)
    values, partials, magnitude = [], [], 0
    # As many rows at a time as stay in the cache.
    step = max(1, _BLOCK // weight[0].size)
    for group in range(groups):
        taps = slice(group * inputs, (group + 1) * inputs)
        end = (group + 1) * outputs
        for start in range(group * outputs, end, step):
            rows = weight[start : min(start + step, end)]
            # All taps of one input channel share its interval, so they are added up first; below
            # 2**63 because a weight has at most 2**30 and a file no 2**33 of them.
            plus = np.maximum(rows, 0).sum(axis=2)
            minus = plus - rows.sum(axis=2)
            partials.append(span(plus, minus, below[taps], above[taps]))
            if not padded:
                values.append(span(plus, minus, source.low[taps], source.high[taps]))
            magnitude = max(magnitude, int(dot(plus + minus, largest[taps]).max()))
    partial = joined(partials)
    # A padded tap contributes 0, so any subset of the terms can be the whole sum.
    return Step(
        values=partial if padded else joined(values), partial=ends(partial), magnitude=magnitude
    )
