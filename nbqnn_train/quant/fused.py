"""Quantization together with what is added right before it, in training.

Apart they would take more passes over memory: a gradient that was masked is centered in place, and
in mixed precision bfloat16 stays bfloat16 between layers. Arithmetic is float32 all the same. Codes
of up to 8 bits, times a power of two, are exact in bfloat16.
"""

import torch
from torch import Tensor

from nbqnn_train.quant.centering import channel_axes, channel_shape, over_processes
from nbqnn_train.quant.saturating import passed, pieces, saturated, widened

__all__ = ["quantized_centered", "quantized_offset", "quantized_sum"]


class _Shifted(torch.autograd.Function):
    """Overwrites ``value`` unless it has half the width."""

    @staticmethod
    def forward(ctx, value, bias, centers, *codes):
        ctx.centers = centers
        overwrite = value.dtype not in (torch.bfloat16, torch.float16)
        if overwrite:
            ctx.mark_dirty(value)
        offset, mean = bias, None
        if centers:
            mean = over_processes(_mean(value))
            ctx.mark_non_differentiable(mean)
            offset = -mean if bias is None else bias - mean
        offset = offset.reshape(channel_shape(value))
        result = saturated(ctx, (value,), *codes, offset=offset, overwrite=overwrite, narrow=True)
        return result, mean

    @staticmethod
    def backward(ctx, gradient, _):
        gradient = passed(ctx, gradient)
        sums, mean = _sums_and_means(gradient)
        if ctx.centers:
            gradient = _centered(gradient, over_processes(mean))
        return gradient, sums if ctx.needs_input_grad[1] else None, *(None,) * 4


def _mean(value: Tensor) -> Tensor:
    """By channel, (C,), at least float32."""
    axes = channel_axes(value)
    if widened(value[:0]).dtype == value.dtype:
        return value.mean(axes)
    sums = sum(value[part].float().sum(axes) for part in pieces(value))
    return sums / (value.numel() // value.shape[1])


def _sums_and_means(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """By channel, (C,), at least float32."""
    count = gradient.numel() // gradient.shape[1]
    if gradient.dtype == torch.bfloat16:  # a sum in float32 would first write all of it as float32
        running = gradient.new_ones(2, gradient.shape[1], dtype=torch.float32)
        mean, _ = torch.ops.aten.batch_norm_update_stats(gradient, *running, 0.0)
        return mean * count, mean
    sums = gradient.sum(channel_axes(gradient))
    return sums, sums / count


def _centered(gradient: Tensor, mean: Tensor) -> Tensor:
    """``gradient - mean`` by channel, which may overwrite ``gradient``."""
    if gradient.dtype == mean.dtype:
        return gradient.sub_(mean.reshape(channel_shape(gradient)))
    # The one operation that reads and writes bfloat16 and subtracts float32 in one pass.
    one = torch.ones_like(mean)
    return torch.nn.functional.batch_norm(gradient, mean, one, eps=0.0)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first, second, *codes):
        return saturated(ctx, (first, second), *codes, narrow=True)

    @staticmethod
    def backward(ctx, gradient):
        gradient = passed(ctx, gradient)
        return gradient, gradient, None, None, None


def quantized_centered(
    value: Tensor, bias: Tensor | None, step: float, low: int, high: int
) -> tuple[Tensor, Tensor]:
    """:func:`~nbqnn_train.quant.centering.centered`, quantized; and the mean, (C,)."""
    return _Shifted.apply(value, bias, True, step, low, high)


def quantized_offset(value: Tensor, offset: Tensor, step: float, low: int, high: int) -> Tensor:
    """``value`` (N, C, ...) plus ``offset`` (C,), quantized. The result may overwrite ``value``."""
    return _Shifted.apply(value, offset, False, step, low, high)[0]


def quantized_sum(first: Tensor, second: Tensor, step: float, low: int, high: int) -> Tensor:
    """The sum of two tensors of one shape, quantized."""
    return _Sum.apply(first, second, step, low, high)
