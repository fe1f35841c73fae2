"""The two halves of quantization in training: codes of values, and which gradients pass."""

from collections.abc import Iterator
from types import EllipsisType

import torch
from torch import Tensor

__all__ = ["passed", "pieces", "saturated", "widened"]

#: From so many codes on the outermost ones need no gradient of their own.
_MANY_CODES = 63
#: Integers up to here are exact in bfloat16.
_EXACT = 256
_HALF_WIDTH = (torch.bfloat16, torch.float16)
#: Values of which several passes stay in the cache of a core.
_CACHED = 1 << 17


def widened(value: Tensor) -> Tensor:
    """``value``, as float32 where it has half that width."""
    return value.float() if value.dtype in _HALF_WIDTH else value


def pieces(value: Tensor) -> Iterator[slice | EllipsisType]:
    """Parts of the batch that are worked on one after the other. A pass over memory costs more than
    arithmetic on a CPU; elsewhere there is one part."""
    if value.numel() <= _CACHED or value.device.type != "cpu":
        yield ...
        return
    step = max(1, _CACHED * len(value) // value.numel())
    for start in range(0, len(value), step):
        yield slice(start, start + step)


def saturated(
    ctx,
    terms: tuple[Tensor, ...],
    step: float,
    low: int,
    high: int,
    *,
    offset: Tensor | None = None,
    overwrite: bool = False,
    narrow: bool = False,
) -> Tensor:
    """``clip(floor(value / step + 1/2), low, high) * step`` of the sum of one or two ``terms``.

    offset : added first; it broadcasts over one image of the batch.
    overwrite : the result takes the place of the only term.
    narrow : the result is bfloat16 if one of the terms is and that holds all codes.

    ``ctx`` of an autograd function gets what :func:`passed` needs. Gradients pass where nothing
    saturates. With many codes, values at the smallest and the largest code count as saturated. Then
    only the output is remembered, which the next layer keeps anyway. Signed outputs go into sums,
    which keep nothing, so their codes are remembered, as small integers.
    """
    first = terms[0]
    narrow = narrow and any(one.dtype == torch.bfloat16 for one in terms)
    narrow = narrow and max(-low, high) <= _EXACT
    wide = torch.float32 if first.dtype in _HALF_WIDTH else first.dtype
    result = first
    if not overwrite:
        result = torch.empty_like(first, dtype=torch.bfloat16 if narrow else wide)
    limits, kept = (low * step, high * step), result
    if not any(ctx.needs_input_grad):
        pass
    elif high - low < _MANY_CODES:
        limits, kept = (low - 1, high + 1), torch.empty_like(first, dtype=torch.int8)
    elif low < 0 and not narrow:
        small = torch.int8 if high < 1 << 7 else torch.int16
        limits, kept = (low, high), torch.empty_like(first, dtype=small)
    half = torch.tensor(0.5, dtype=wide, device=first.device)
    for part in pieces(first):
        value = widened(first[part])
        if len(terms) > 1:
            value = value + widened(terms[1][part])
        own = overwrite or len(terms) > 1 or value.dtype != first.dtype
        if offset is not None:
            value = value.add_(offset) if own else value + offset
            own = True
        # Half and value / step in one.
        codes = torch.add(half, value, alpha=1 / step, out=value if own else None).floor_()
        if kept is not result:
            kept[part] = codes.clamp_(*limits)
        codes = codes.clamp_(low, high).mul_(step)
        if not overwrite:
            result[part] = codes
    ctx.limits = limits
    ctx.save_for_backward(kept)
    return result


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
