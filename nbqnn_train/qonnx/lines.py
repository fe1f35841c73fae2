"""Lines and chains: the functions of one number between two quantizers, in exact arithmetic.

All numbers are fractions, so nothing is rounded unintentionally. A tuple has one entry for each
channel, or one entry for all channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

__all__ = ["Chain", "Column", "Line", "Rounding", "columns"]

#: One number per channel, or one for all.
Column = tuple[Fraction, ...]


def columns(function: Callable, *operands: tuple) -> tuple:
    """Applies ``function`` to the operands' entries, channel by channel. If all results are equal,
    the result has one entry."""
    size = max(len(operand) for operand in operands)
    rows = zip(*(o * size if len(o) == 1 else o for o in operands), strict=True)
    result = tuple(function(*row) for row in rows)
    return result[:1] if all(value == result[0] for value in result) else result


@dataclass(frozen=True)
class Line:
    """The function ``min(max(scale * v + offset, low), high)`` of a value v; None is no limit."""

    scale: Column = (Fraction(1),)
    offset: Column = (Fraction(0),)
    low: tuple[Fraction | None, ...] = (None,)
    high: tuple[Fraction | None, ...] = (None,)

    @property
    def limited(self) -> bool:
        return self.low != (None,) or self.high != (None,)

    def times(self, factor: Column) -> "Line":
        """The line times ``factor``; a negative factor swaps the limits."""

        def scaled(limit, f):
            return None if limit is None else limit * f

        def ends(low, high, f):
            return (scaled(low, f), scaled(high, f)) if f > 0 else (scaled(high, f), scaled(low, f))

        both = columns(ends, self.low, self.high, factor)
        return Line(
            scale=columns(lambda a, f: a * f, self.scale, factor),
            offset=columns(lambda b, f: b * f, self.offset, factor),
            low=columns(lambda pair: pair[0], both),
            high=columns(lambda pair: pair[1], both),
        )

    def plus(self, addend: Column) -> "Line":
        """The line plus ``addend``."""

        def moved(limit, a):
            return None if limit is None else limit + a

        return Line(
            scale=self.scale,
            offset=columns(lambda b, a: b + a, self.offset, addend),
            low=columns(moved, self.low, addend),
            high=columns(moved, self.high, addend),
        )

    def clip(self, low: Fraction | None, high: Fraction | None) -> "Line":
        """The line limited to ``low``..``high``. As in ONNX the upper limit wins."""

        def clipped(limit, start):
            if limit is None:
                return start
            limit = limit if low is None else max(limit, low)
            return limit if high is None else min(limit, high)

        return replace(
            self,
            low=columns(lambda limit: clipped(limit, low), self.low),
            high=columns(lambda limit: clipped(limit, high), self.high),
        )


@dataclass(frozen=True)
class Rounding:
    """Rounds the result of ``line`` in one of QONNX's modes, or to ±1 (``BIPOLAR``)."""

    line: Line
    mode: str


@dataclass(frozen=True)
class Chain:
    """Roundings one after the other, then a line: a function of integers or of real input."""

    roundings: tuple[Rounding, ...] = ()
    line: Line = field(default_factory=Line)
    #: A function that is applied to the integers first. Only a quantizer may follow: it makes a
    #: table.
    function: Callable[[int], Fraction] | None = None

    def times(self, factor: Column) -> "Chain":
        return replace(self, line=self.line.times(factor))

    def plus(self, addend: Column) -> "Chain":
        return replace(self, line=self.line.plus(addend))

    def clip(self, low: Fraction | None, high: Fraction | None) -> "Chain":
        return replace(self, line=self.line.clip(low, high))

    def round(self, mode: str, integers: bool) -> "Chain":
        """The chain, rounded. With ``integers`` the source holds integers; a chain that keeps them
        integers is not changed."""
        whole = self.roundings or (integers and self.function is None)
        if whole and mode != "BIPOLAR" and _whole(self.line):
            return self
        roundings = (*self.roundings, Rounding(self.line, mode))
        return replace(self, roundings=roundings, line=Line())

    @property
    def first(self) -> Line:
        """The first line of the chain, which reads the source."""
        return self.roundings[0].line if self.roundings else self.line

    def with_first(self, line: Line) -> "Chain":
        if not self.roundings:
            return replace(self, line=line)
        first = replace(self.roundings[0], line=line)
        return replace(self, roundings=(first, *self.roundings[1:]))


def _whole(line: Line) -> bool:
    """Whether the line makes integers of integers."""
    numbers = (*line.scale, *line.offset, *line.low, *line.high)
    return all(number is None or number.denominator == 1 for number in numbers)
