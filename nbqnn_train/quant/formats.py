"""Number formats of activations, and rounding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

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


#: From so many codes on the outermost ones need no gradient of their own.
_MANY_CODES = 63


class _FakeQuantize(torch.autograd.Function):
    """Rounds and saturates; the gradient passes where nothing saturates (straight through).

    With many codes, values at the smallest and the largest code count as saturated. Then only the
    output is remembered, which the next layer keeps anyway. Signed outputs go into sums, which keep
    nothing, so their codes are remembered, as small integers.
    """

    @staticmethod
    def forward(ctx, value, step, low, high, overwrite):
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()  # their mantissas hold no half beside 8 bits of code
        elif overwrite:
            ctx.mark_dirty(value)
        # A pass over memory costs more here than arithmetic: half and value / step in one.
        half, out = value.new_tensor(0.5), value if overwrite else None
        codes = torch.add(half, value, alpha=1 / step, out=out).floor_()
        ctx.limits = None
        if high - low < _MANY_CODES and ctx.needs_input_grad[0]:
            ctx.save_for_backward(codes.clamp(low, high) == codes)
            return codes.clamp_(low, high).mul_(step)
        codes.clamp_(low, high)
        if low < 0 and ctx.needs_input_grad[0]:
            ctx.limits = low, high
            ctx.save_for_backward(codes.to(torch.int8 if high < 1 << 7 else torch.int16))
            return codes.mul_(step)
        ctx.limits = low * step, high * step
        result = codes.mul_(step)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, gradient):
        (kept,) = ctx.saved_tensors
        if gradient.stride() != kept.stride():
            # Element by element over two layouts takes several times as long as this copy.
            gradient = torch.empty_like(kept, dtype=gradient.dtype).copy_(gradient)
        if ctx.limits is None:
            return gradient * kept, None, None, None, None
        backward = torch.ops.aten.hardtanh_backward
        if kept.dtype == gradient.dtype:
            return backward(gradient, kept, *ctx.limits), None, None, None, None
        kept = kept.to(gradient.dtype)
        backward.grad_input(gradient, kept, *ctx.limits, grad_input=kept)
        return kept, None, None, None, None


def fake_quantize(
    value: Tensor, step: float, low: int, high: int, *, overwrite: bool = False
) -> Tensor:
    """``clip(floor(value / step + 1/2), low, high) * step`` for a power-of-two ``step``.

    With ``overwrite`` the result may overwrite ``value``.
    """
    return _FakeQuantize.apply(value, step, low, high, overwrite)
