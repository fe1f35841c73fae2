"""Number formats of activations, and rounding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nbqnn_train.quant.saturating import passed, saturated, widened

__all__ = ["Format", "fake_quantize", "half_up"]


@dataclass(frozen=True)
class Format:
    """``bits`` wide codes, signed or not, of the real value ``code * 2**exponent``."""

    bits: int
    signed: bool
    exponent: int

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def magnitude(self) -> int:
        """The largest magnitude of a code."""
        return max(self.high, -self.low)

    @property
    def step(self) -> float:
        return math.ldexp(1.0, self.exponent)

    def code_range(self, low: float, high: float) -> tuple[int, int]:
        """The codes that clipping real values to ``low ... high`` leaves."""
        return self._code(low), self._code(high)

    def _code(self, value: float) -> int:
        if math.isinf(value):
            return self.low if value < 0 else self.high
        return min(max(math.floor(value / self.step + 0.5), self.low), self.high)


def half_up(value: Tensor) -> Tensor:
    """Nearest integer, ties towards plus infinity: the rounding of the integer graph."""
    return torch.floor(value + 0.5)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, step, low, high, overwrite):
        # Half the width holds no half beside 8 bits of code.
        overwrite = overwrite and widened(value[:0]).dtype == value.dtype
        if overwrite:
            ctx.mark_dirty(value)
        return saturated(ctx, (value,), step, low, high, overwrite=overwrite)

    @staticmethod
    def backward(ctx, gradient):
        return passed(ctx, gradient), None, None, None, None


def fake_quantize(
    value: Tensor, step: float, low: int, high: int, *, overwrite: bool = False
) -> Tensor:
    """``clip(floor(value / step + 1/2), low, high) * step`` for a power-of-two ``step``.

    With ``overwrite`` the result may overwrite ``value``.
    """
    return _FakeQuantize.apply(value, step, low, high, overwrite)
