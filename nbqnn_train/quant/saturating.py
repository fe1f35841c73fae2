"""The two halves of quantization in training: codes of values, and which gradients pass."""

import torch
from torch import Tensor

__all__ = ["passed", "saturated", "widened"]

#: From so many codes on the outermost ones need no gradient of their own.
_MANY_CODES = 63
#: Integers up to here are exact in bfloat16.
_EXACT = 256
_HALF_WIDTH = (torch.bfloat16, torch.float16)


def widened(value: Tensor) -> Tensor:
    """``value``, as float32 where it has half that width."""
    return value.float() if value.dtype in _HALF_WIDTH else value


def saturated(
    ctx, value: Tensor, step: float, low: int, high: int, *, narrow: bool = False
) -> Tensor:
    """``clip(floor(value / step + 1/2), low, high) * step``, which overwrites ``value``.

    narrow : whether the result may be bfloat16 if that holds all codes; then ``value`` stays.

    ``ctx`` of an autograd function gets what :func:`passed` needs. Gradients pass where nothing
    saturates. With many codes, values at the smallest and the largest code count as saturated. Then
    only the output is remembered, which the next layer keeps anyway. Signed outputs go into sums,
    which keep nothing, so their codes are remembered, as small integers.
    """
    # A pass over memory costs more here than arithmetic: half and value / step in one.
    codes = torch.add(value.new_tensor(0.5), value, alpha=1 / step, out=value).floor_()
    narrow = narrow and max(-low, high) <= _EXACT
    if high - low < _MANY_CODES and ctx.needs_input_grad[0]:
        ctx.limits = low - 1, high + 1
        ctx.save_for_backward(codes.clamp_(*ctx.limits).to(torch.int8))
        return _scaled(codes.clamp_(low, high), step, narrow)
    codes.clamp_(low, high)
    if low < 0 and not narrow and ctx.needs_input_grad[0]:
        ctx.limits = low, high
        ctx.save_for_backward(codes.to(torch.int8 if high < 1 << 7 else torch.int16))
        return codes.mul_(step)
    ctx.limits = low * step, high * step
    result = _scaled(codes, step, narrow)
    ctx.save_for_backward(result)
    return result


def _scaled(codes: Tensor, step: float, narrow: bool) -> Tensor:
    return (codes.bfloat16() if narrow else codes).mul_(step)


def passed(ctx, gradient: Tensor) -> Tensor:
    """A new tensor: ``gradient`` where it passes, else 0."""
    (kept,) = ctx.saved_tensors
    if gradient.stride() != kept.stride():
        # Element by element over two layouts takes several times as long as this copy.
        gradient = torch.empty_like(kept, dtype=gradient.dtype).copy_(gradient)
    backward = torch.ops.aten.hardtanh_backward
    if kept.dtype == gradient.dtype:
        return backward(gradient, kept, *ctx.limits)
    kept = kept.to(gradient.dtype)
    return backward.grad_input(gradient, kept, *ctx.limits, grad_input=kept)
