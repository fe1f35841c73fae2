"""What is left of batch norm once its scale is part of the weights: the mean of the batch."""

import torch
from torch import Tensor, nn

from nbqnn_train.quant.saturating import widened

__all__ = [
    "TINY",
    "centered",
    "channel_axes",
    "channel_shape",
    "over_processes",
    "remember_mean",
]

#: Factors of batch norm below this count as zero: nothing can be divided by them.
TINY = 1e-12


class _Centered(torch.autograd.Function):
    """In place; nothing is kept for the gradient, which is centered in the same way."""

    @staticmethod
    def forward(ctx, value, bias):
        mean = over_processes(value.mean(channel_axes(value)))
        ctx.mark_dirty(value)
        ctx.mark_non_differentiable(mean)
        offset = -mean if bias is None else bias - mean
        return value.add_(offset.reshape(channel_shape(value))), mean

    @staticmethod
    def backward(ctx, gradient, _):
        sums = gradient.sum(channel_axes(gradient))
        mean = over_processes(sums / (gradient.numel() // len(sums)))
        centered = gradient - mean.reshape(channel_shape(gradient))
        return centered, sums if ctx.needs_input_grad[1] else None


def channel_axes(value: Tensor) -> list[int]:
    """All axes of (N, C, ...) but that of channels."""
    return [axis for axis in range(value.dim()) if axis != 1]


def channel_shape(value: Tensor) -> tuple[int, ...]:
    """The shape in which (C,) broadcasts over (N, C, ...)."""
    return (1, -1, *(1,) * (value.dim() - 2))


def over_processes(mean: Tensor) -> Tensor:
    """The mean over all processes that train together; all have equally many values."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(mean)
        mean /= torch.distributed.get_world_size()
    return mean


def centered(value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Subtracts its mean by channel from ``value`` (N, C, ...) and adds ``bias`` (C,).

    Returns the result and the mean, (C,).

    Mean-only batch norm (Salimans, Kingma, arXiv 1602.07868, section 3). The result overwrites
    ``value``. Values of half the width become float32, because they would be rounded.
    """
    return _Centered.apply(widened(value), bias)


def remember_mean(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, gain: Tensor, bias: Tensor | None = None
) -> None:
    """Moves the running mean of ``norm`` to that of a batch.

    mean : (C,) of ``gain`` times the input of ``norm`` without ``bias``; where ``gain`` is zero the
        running mean does not count.
    """
    with torch.no_grad():
        mean = mean / torch.where(gain.abs() < TINY, TINY, gain)
        if bias is not None:
            mean = mean + bias
        norm.num_batches_tracked.add_(1)
        share = norm.momentum
        if share is None:  # cumulative average
            share = 1 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean.to(norm.running_mean), share)
