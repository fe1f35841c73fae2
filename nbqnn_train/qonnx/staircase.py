"""Finds multiplier, bias and shift of a Requantize that does what a chain does.

Over a proved interval of integers the codes of a chain are a staircase. If a rule with a 16-bit
multiplier has all steps in the same places, the import is exact, whatever scales and roundings the
model has. Before a rounding a value is replaced by the nearest float32, as in the model's own
arithmetic: there 0.5 / 0.1 is 5, although the float32 0.1 is a little more than a tenth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import BIAS, MULTIPLIER, REQUANT_SHIFT

from .lines import Chain, Line

__all__ = ["MODES", "NEAREST", "Rule", "code_of", "limit_of", "rounded", "rule"]

NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN")
#: Rounding modes of QONNX, and the one with two values.
MODES = (*NEAREST, "FLOOR", "CEIL", "UP", "DOWN", "BIPOLAR")
#: Most steps of a channel that are checked one by one. 16 bits hardly ever place more of them.
_MAX_STEPS = 1 << 12


@dataclass(frozen=True)
class Rule:
    """``(acc * multiplier + bias + half) >> shift`` of one channel; see SPEC.md of the graph.

    flaw : None if every step is where the chain has it; ``ties`` if only steps half-way between
        codes can differ; ``scale`` if the multiplier is rounded.
    """

    multiplier: int
    bias: int
    shift: int
    flaw: str | None


def rule(
    what: str, chain: Chain, channel: int, interval: tuple[int, int], low: int, high: int
) -> Rule:
    """The rule of one channel, exact where there is one; ``low``..``high`` are the output's codes.

    chain : one rounding of a line with a positive scale, then an integer offset.
    interval : the sums that can occur.

    Raises :class:`GraphError` where not even an approximate rule exists.
    """
    simple = _dyadic(chain, channel, low)
    if simple is not None and simple.flaw is None:
        return simple
    slope = _slope(chain, channel)
    steps = _steps(chain, channel, interval, low, high)
    if steps is not None:
        fitted = _fit(steps, slope)
        if fitted is not None:
            return fitted
    if simple is not None:
        return simple
    return _nearest(what, chain, channel, slope)


def _entry(column: tuple, channel: int):
    return column[0] if len(column) == 1 else column[channel]


def _slope(chain: Chain, channel: int) -> Fraction:
    (rounding,) = chain.roundings
    if rounding.mode == "BIPOLAR":
        # The one step from -1 to 1 is steeper than any other.
        return Fraction(MULTIPLIER[1])
    return _entry(rounding.line.scale, channel)


def _clipped(line: Line, channel: int, value: Fraction) -> Fraction:
    low, high = _entry(line.low, channel), _entry(line.high, channel)
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def code_of(chain: Chain, channel: int, value: int | Fraction) -> int:
    """The code that ``chain`` makes of ``value``."""
    result = Fraction(value) if chain.function is None else chain.function(int(value))
    for rounding in chain.roundings:
        line = rounding.line
        result = _entry(line.scale, channel) * result + _entry(line.offset, channel)
        result = _as_float32(_clipped(line, channel, result))
        result = Fraction(rounded(rounding.mode, result))
    line = chain.line
    result = _entry(line.scale, channel) * result + _entry(line.offset, channel)
    return int(_clipped(line, channel, result))


def limit_of(chain: Chain, channel: int, side: int) -> int | None:
    """The smallest (``side`` -1) or largest (1) code that ``chain`` can give."""
    result = None
    for number, line in enumerate([*(r.line for r in chain.roundings), chain.line]):
        limit = _entry(line.low if side < 0 else line.high, channel)
        if result is None:
            result = limit
        else:
            result = _entry(line.scale, channel) * result + _entry(line.offset, channel)
            result = _clipped(line, channel, result)
        if number < len(chain.roundings):
            mode = chain.roundings[number].mode
            if mode == "BIPOLAR":
                result = Fraction(side) if result is None else result
            if result is not None:
                result = Fraction(rounded(mode, result))
    return None if result is None else int(result)


def rounded(mode: str, value: Fraction) -> int:
    """``value`` rounded to an integer in one of :data:`MODES`."""
    if mode == "BIPOLAR":
        return 1 if value >= 0 else -1
    if mode in ("ROUND", "HALF_EVEN"):
        return round(value)
    if mode == "FLOOR":
        return floor(value)
    if mode == "CEIL":
        return -floor(-value)
    size = abs(value)
    half = Fraction(1, 2)
    whole = {
        "HALF_UP": lambda: floor(size + half),
        "HALF_DOWN": lambda: -floor(half - size),
        "UP": lambda: -floor(-size),
        "DOWN": lambda: floor(size),
    }[mode]()
    return whole if value >= 0 else -whole


def _dyadic(chain: Chain, channel: int, low: int) -> Rule | None:
    """The rule of a chain with one rounding and a scale ``m / 2**s``."""
    (rounding,) = chain.roundings
    scale = _entry(rounding.line.scale, channel)
    offset = _entry(rounding.line.offset, channel) + _entry(chain.line.offset, channel)
    shift = scale.denominator.bit_length() - 1
    multiplier = scale.numerator
    power = scale.denominator == 1 << shift
    if not power or not 1 <= multiplier <= MULTIPLIER[1] or shift > REQUANT_SHIFT[1]:
        return None
    mode = rounding.mode
    if mode in NEAREST and shift == 0:
        multiplier, shift = multiplier * 2, 1
        if multiplier > MULTIPLIER[1]:
            return None
    bias = offset * (1 << shift)
    half = (1 << shift) >> 1
    # acc * multiplier is an integer: the floor of the sum does not see a fraction of the bias.
    above_zero = low >= _entry(chain.line.offset, channel)
    if mode in NEAREST:
        ties = bias.denominator == 1
        # Half away from zero differs from half up below zero only, which is cut off.
        exact = not ties or (mode == "HALF_UP" and above_zero)
        return _checked(multiplier, floor(bias), shift, exact)
    if mode == "FLOOR" or (mode == "DOWN" and above_zero):
        return _checked(multiplier, floor(bias) - half, shift, True)
    if mode == "CEIL" or (mode == "UP" and above_zero):
        return _checked(multiplier, -floor(-bias) + (1 << shift) - 1 - half, shift, True)
    return None


def _checked(multiplier: int, bias: int, shift: int, exact: bool) -> Rule | None:
    flaw = None if exact else "ties"
    return Rule(multiplier, bias, shift, flaw) if BIAS[0] <= bias <= BIAS[1] else None


@dataclass(frozen=True)
class _Steps:
    """The steps of a staircase: from the sum ``at[i]`` on, ``code[i]`` is reached.

    reached : the code of the smallest sum; beyond : the first code that is never reached.
    """

    code: np.ndarray
    at: np.ndarray
    lowest: int
    highest: int
    reached: int
    beyond: int
    limits: tuple[int, int]


def _steps(
    chain: Chain, channel: int, interval: tuple[int, int], low: int, high: int
) -> _Steps | None:
    """The steps of a chain; None if there are too many."""
    lowest, highest = interval
    first, last = (min(max(code_of(chain, channel, end), low), high) for end in (lowest, highest))
    if last - first > _MAX_STEPS or max(-lowest, highest) >= 1 << 40:
        return None
    codes = range(first + 1, last + 1)
    at = _first_sums(chain, channel, codes)
    return _Steps(
        code=np.array(codes, dtype=np.int64),
        at=np.array(at, dtype=np.int64),
        lowest=lowest,
        highest=highest,
        reached=first,
        beyond=last + 1,
        limits=(low, high),
    )


def _first_sums(chain: Chain, channel: int, codes: Iterable[int]) -> list[int]:
    """For each code the smallest integer of which ``chain`` makes it or more. There is one."""
    (rounding,) = chain.roundings
    after = int(_entry(chain.line.offset, channel))
    scale, offset = _entry(rounding.line.scale, channel), _entry(rounding.line.offset, channel)
    # (bound - offset) / scale in integers: fractions would take many times as long.
    grow, shrink = scale.denominator, scale.numerator
    moved, parts = offset.numerator, offset.denominator
    result = []
    for code in codes:
        top, bottom, strict = _bound(rounding.mode, code - after)
        top = (top * parts - moved * bottom) * grow
        bottom *= parts * shrink
        result.append(top // bottom + 1 if strict else -(-top // bottom))
    return result


@lru_cache(maxsize=1 << 14)
def _bound(mode: str, whole: int) -> tuple[int, int, bool]:
    """The bound ``top / bottom``. A value reaches it (with ``strict``: exceeds it) if and only if
    its float32 is rounded to ``whole`` or more."""
    return _before_float32(*_before_rounding(mode, whole))


def _as_float32(value: Fraction) -> Fraction:
    """The float32 that a model's own arithmetic has for ``value`` before a rounding."""
    return Fraction(float(np.float32(float(value)))) if abs(value) < 1 << 64 else value


def _before_float32(top: int, bottom: int, strict: bool) -> tuple[int, int, bool]:
    """The bound that a value reaches if and only if its float32 reaches ``top / bottom``."""
    bound = np.float32(top / bottom)
    if top == 0 or Fraction(float(bound)) != Fraction(top, bottom):
        return top, bottom, strict
    other = np.nextafter(bound, np.float32(np.inf if strict else -np.inf))
    middle = (Fraction(float(bound)) + Fraction(float(other))) / 2
    # A value half-way becomes the neighbour whose last bit is 0.
    even = not int(bound.view(np.uint32)) & 1
    return middle.numerator, middle.denominator, even if strict else not even


def _before_rounding(mode: str, whole: int) -> tuple[int, int, bool]:
    """The bound that a value reaches if and only if it is rounded to ``whole`` or more."""
    if mode == "BIPOLAR":
        return 0, 1, False
    if mode in NEAREST:
        strict = {
            "HALF_UP": whole <= 0,
            "HALF_DOWN": whole > 0,
        }.get(mode, whole % 2 == 1)
        return 2 * whole - 1, 2, strict
    up = mode == "CEIL" or (mode == "UP" and whole > 0) or (mode == "DOWN" and whole <= 0)
    return (whole - 1, 1, True) if up else (whole, 1, False)


def _fit(steps: _Steps, slope: Fraction) -> Rule | None:
    """A rule with all steps in the same places; None if none is found."""
    for multiplier, shift in _candidates(slope):
        # acc * multiplier + total must reach code << shift at the step and not one sum before.
        if (max(abs(steps.reached), abs(steps.beyond)) + 1) << shift >= 1 << 62:
            continue
        targets = steps.code << shift
        least = targets - steps.at * multiplier
        most = targets - (steps.at - 1) * multiplier - 1
        floor_total = [int(least.max())] if least.size else []
        top_total = [int(most.min())] if most.size else []
        if steps.reached > steps.limits[0]:
            floor_total.append((steps.reached << shift) - steps.lowest * multiplier)
        if steps.beyond <= steps.limits[1]:
            top_total.append((steps.beyond << shift) - steps.highest * multiplier - 1)
        lower = max(floor_total, default=None)
        upper = min(top_total, default=None)
        if lower is not None and upper is not None and lower > upper:
            continue
        total = _between(lower, upper)
        bias = total - ((1 << shift) >> 1)
        if BIAS[0] <= bias <= BIAS[1]:
            return Rule(multiplier, bias, shift, None)
    return None


def _between(lower: int | None, upper: int | None) -> int:
    if lower is None:
        return upper if upper is not None else 0
    return lower if upper is None else (lower + upper) // 2


def _candidates(slope: Fraction) -> Iterable[tuple[int, int]]:
    """Multipliers and shifts near ``slope``: powers of two first, then the closest of 16 bits."""
    if slope <= 0:
        yield 1, REQUANT_SHIFT[1]
        return
    tried = set()
    for bits in (1, 8, 16):
        shift = min(max(bits - 1 - _log2(slope), 0), REQUANT_SHIFT[1])
        middle = floor(slope * (1 << shift))
        for multiplier in (middle, middle + 1, middle - 1, middle + 2):
            multiplier = min(max(multiplier, MULTIPLIER[0]), MULTIPLIER[1])
            if (multiplier, shift) not in tried:
                tried.add((multiplier, shift))
                yield multiplier, shift


def _log2(value: Fraction) -> int:
    """``floor(log2(value))``."""
    estimate = value.numerator.bit_length() - value.denominator.bit_length()
    return estimate if value >= Fraction(2) ** estimate else estimate - 1


def _nearest(what: str, chain: Chain, channel: int, slope: Fraction) -> Rule:
    """The rule with the nearest multiplier, of a chain with one rounding."""
    (rounding,) = chain.roundings
    if rounding.mode == "BIPOLAR":
        raise GraphError(f"{what}: sums of more than 40 bits are not supported here")
    shift = min(max(15 - _log2(slope), 0), REQUANT_SHIFT[1])
    if floor(slope * (1 << shift) + Fraction(1, 2)) > MULTIPLIER[1]:
        shift = max(shift - 1, 0)
    multiplier = floor(slope * (1 << shift) + Fraction(1, 2))
    if not MULTIPLIER[0] <= multiplier <= MULTIPLIER[1]:
        raise GraphError(
            f"{what}: scale {float(slope)} of channel {channel} must lie in 2**-47..{MULTIPLIER[1]}"
        )
    if rounding.mode in NEAREST and shift == 0:
        multiplier, shift = min(multiplier * 2, MULTIPLIER[1]), 1
    offset = _entry(rounding.line.offset, channel) + _entry(chain.line.offset, channel)
    half = (1 << shift) >> 1
    move = {"CEIL": (1 << shift) - 1 - half, "UP": 0, "DOWN": 0, "FLOOR": -half}
    bias = floor(offset * (1 << shift)) + move.get(rounding.mode, 0)
    if not BIAS[0] <= bias <= BIAS[1]:
        raise GraphError(f"{what}: offset takes more than 48 bits ({bias})")
    return Rule(multiplier, bias, shift, "scale")
