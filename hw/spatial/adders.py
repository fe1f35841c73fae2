"""Graphs of additions of up to three numbers, with the exact range of every value."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

__all__ = ["AdderGraph", "Addition", "Term", "interval_bits", "lone_bits", "row_tables"]


@dataclass(frozen=True)
class Term:
    """``value << shift``, or ``~value << shift``; ``value`` counts inputs first, then additions."""

    value: int
    shift: int = 0
    inverted: bool = False


@dataclass(frozen=True)
class Addition:
    """The sum of up to three numbers: one to three terms and, if it is not 0, a constant."""

    terms: tuple[Term, ...]
    constant: int = 0


@dataclass
class AdderGraph:
    """Values: those of the inputs, then one for each addition, of terms before it.

    A number is subtracted by adding its inverse, which is one too small but needs no carry.
    ``offsets`` holds how far each value is off. The constant of each row corrects all offsets in
    the row, so outputs are exact.

    ranges : smallest and largest value of every input and addition, both included.
    offsets : each value less the sum that it stands for.
    depths : additions on the longest way from an input to the value.
    outputs : a term for each row; None for a row that is always 0.
    """

    inputs: int
    ranges: list[tuple[int, int]]
    depths: list[int]
    offsets: list[int]
    additions: list[Addition] = field(default_factory=list)
    outputs: list[Term | None] = field(default_factory=list)

    def add(self, addition: Addition) -> int:
        """Appends an addition; returns the number of its value."""
        self.additions.append(addition)
        self.offsets.append(self._offset(addition))
        self.ranges.append(self._range(addition))
        self.depths.append(1 + max(self.depths[term.value] for term in addition.terms))
        return len(self.ranges) - 1

    def set_constant(self, value: int, constant: int) -> None:
        """Gives the addition of two terms that makes ``value`` a constant."""
        at = value - self.inputs
        self.additions[at] = replace(self.additions[at], constant=constant)
        for number, addition in enumerate(self.additions[at:], value):
            self.offsets[number] = self._offset(addition)
            self.ranges[number] = self._range(addition)

    def _offset(self, addition: Addition) -> int:
        return sum(map(self.offset, addition.terms)) + addition.constant

    def _range(self, addition: Addition) -> tuple[int, int]:
        ends = [self.scaled(term) for term in addition.terms]
        low, high = (sum(end[i] for end in ends) + addition.constant for i in (0, 1))
        return low, high

    def scaled(self, term: Term) -> tuple[int, int]:
        """Smallest and largest value of a term."""
        low, high = self.ranges[term.value]
        if term.inverted:
            low, high = ~high, ~low
        return low << term.shift, high << term.shift

    def offset(self, term: Term) -> int:
        """The term less the exact value, or the exact negative value, that it stands for."""
        offset = self.offsets[term.value]
        return (-offset - 1 if term.inverted else offset) << term.shift

    def evaluate(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs (N, rows), int64, of inputs (N, inputs)."""
        values = list(np.asarray(inputs, dtype=np.int64).T)

        def scaled(term: Term) -> np.ndarray:
            value = values[term.value]
            return (~value if term.inverted else value) << term.shift

        for addition in self.additions:
            values.append(sum(map(scaled, addition.terms)) + addition.constant)
        zero = np.zeros(len(inputs), np.int64)
        return np.stack([zero if out is None else scaled(out) for out in self.outputs], axis=1)

    @property
    def tables(self) -> int:
        """Look-up tables of all additions, by :func:`row_tables`."""
        return sum(
            row_tables([self.scaled(term) for term in addition.terms], addition)
            for addition in self.additions
        )


def interval_bits(low: int, high: int) -> int:
    """Bits of ``low``..``high``: unsigned where nothing is negative, else two's complement."""
    if low >= 0:
        return high.bit_length()
    return 1 + max((~low).bit_length(), high.bit_length() if high > 0 else 0)


def lone_bits(addition: Addition) -> int:
    """How many low bits of the sum come from one term alone."""
    order = sorted(addition.terms, key=lambda term: term.shift)
    if addition.constant or order[0].inverted or len(order) == 1:
        return 0
    return order[1].shift - order[0].shift


def row_tables(scaled: Sequence[tuple[int, int]], addition: Addition) -> int:
    """Tables of one addition: one for each bit, except low bits that come from one term alone.

    scaled : smallest and largest value of each term; the smallest shift is 0.
    """
    low, high = (sum(ends[i] for ends in scaled) + addition.constant for i in (0, 1))
    return max(1, interval_bits(low, high) - lone_bits(addition))
