"""What a foreign network does to a tensor between two quantizers: a scale and an offset per
channel.

All numbers are fractions, so nothing is rounded before it is decided that it may be.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import MULTIPLIER, REQUANT_SHIFT

__all__ = ["Affine", "integer_rule"]


@dataclass(frozen=True)
class Affine:
    """Real values ``scale[c] * code + offset[c]`` of the codes of ``source``.

    source : name of a tensor of the graph, or with ``real`` of an input of the model, whose values
        take the place of codes.
    floored : the factor that came after a Floor, None before one; ``low``, ``high`` are the
        limits in steps of that factor, None where there are none.
    relu : whether negative values became 0.
    """

    source: str
    scale: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    real: bool = False
    floored: Fraction | None = None
    low: int | None = None
    high: int | None = None
    relu: bool = False

    def times(self, what: str, factor: list[Fraction]) -> "Affine":
        """Multiplied by ``factor`` per channel."""
        if self.relu:
            raise GraphError(f"{what}: only a Quant may follow a Relu")
        if self.floored is not None:
            if len(set(factor)) != 1:
                raise GraphError(f"{what}: one factor must hold for all channels after a Floor")
            return replace(self, floored=self.floored * factor[0])
        pairs = list(zip(self.scale, self.offset, factor, strict=True))
        return replace(
            self,
            scale=tuple(scale * f for scale, _, f in pairs),
            offset=tuple(offset * f for _, offset, f in pairs),
        )

    def plus(self, what: str, addend: list[Fraction]) -> "Affine":
        """With ``addend`` per channel added."""
        if self.relu or self.floored is not None:
            raise GraphError(f"{what}: only a Quant may follow a Relu or Floor")
        return replace(self, offset=tuple(a + b for a, b in zip(self.offset, addend, strict=True)))

    def floor(self, what: str) -> "Affine":
        if self.relu or self.floored is not None:
            raise GraphError(f"{what}: only a Quant may follow a Relu or Floor")
        return replace(self, floored=Fraction(1))

    def clip(self, what: str, low: Fraction, high: Fraction) -> "Affine":
        """Limited to ``low``..``high``, after a Floor."""
        if self.floored is None or self.low is not None:
            raise GraphError(f"{what}: must follow a Floor or a Quant")
        low, high = low / self.floored, high / self.floored
        if low.denominator != 1 or high.denominator != 1:
            raise GraphError(f"{what}: limits must be whole steps, not {float(low)}, {float(high)}")
        return replace(self, low=int(low), high=int(high))


def integer_rule(
    what: str, scale: list[Fraction], offset: list[Fraction], nearest: bool, exact: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiplier, bias and shift of a Requantize for ``scale * acc + offset`` in output steps.

    ``scale`` is positive. ``nearest`` rounds to the nearest integer, else down. The offset is exact
    although the bias is rounded down: ``acc * multiplier`` is an integer, so the floor of the sum
    does not see the fraction that the bias loses.

    Raises :class:`GraphError` where no multiplier fits; with ``exact`` also where one would have to
    be rounded to 16 bits, or where ties to even, which the graph rounds up, can occur.
    """
    rules = []
    for channel, (a, b) in enumerate(zip(scale, offset, strict=True)):
        multiplier, shift = _ratio(a)
        if shift is None or multiplier > MULTIPLIER[1] or shift > REQUANT_SHIFT[1]:
            if exact:
                raise GraphError(
                    f"{what}: scale {float(a)} of channel {channel} must be m / 2**s with m of 16 "
                    "bits; import with exact=False (--approximate) to round it"
                )
            multiplier, shift = _rounded_ratio(what, channel, a)
        if nearest and shift == 0:
            if multiplier * 2 > MULTIPLIER[1]:
                raise GraphError(f"{what}: scale {float(a)} of channel {channel} is too large")
            multiplier, shift = multiplier * 2, 1
        bias = b * (1 << shift)
        if nearest and exact and bias.denominator == 1:
            raise GraphError(
                f"{what}: ties of channel {channel} go to even in the model and up in the graph; "
                "import with exact=False (--approximate) to accept that"
            )
        rounded = floor(bias)
        rules.append((multiplier, rounded if nearest else rounded - ((1 << shift) >> 1), shift))
    multiplier, bias, shift = zip(*rules, strict=True)
    largest = max(abs(value) for value in bias)
    if largest >= 1 << 47:
        raise GraphError(f"{what}: offset takes more than 48 bits ({largest})")
    return np.array(multiplier), np.array(bias), np.array(shift)


def _ratio(value: Fraction) -> tuple[int, int | None]:
    """``value`` as ``(m, s)`` with ``value == m / 2**s``; s is None where there are none."""
    if value.denominator & (value.denominator - 1):
        return 0, None
    return value.numerator, value.denominator.bit_length() - 1


def _rounded_ratio(what: str, channel: int, value: Fraction) -> tuple[int, int]:
    """The nearest ``m / 2**s`` with m of 16 bits."""
    shift = REQUANT_SHIFT[1]
    while shift >= 0:
        multiplier = floor(value * (1 << shift) + Fraction(1, 2))
        if multiplier <= MULTIPLIER[1]:
            if multiplier >= MULTIPLIER[0]:
                return multiplier, shift
            break
        shift -= 1
    raise GraphError(
        f"{what}: scale {float(value)} of channel {channel} must lie in 2**-47..{MULTIPLIER[1]}"
    )
