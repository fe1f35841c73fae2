"""Max pooling while training."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["max_pool"]

_PAIR = (2, 2)


def max_pool(
    value: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """``torch.nn.functional.max_pool2d`` of (N, C, H, W), to the bit, and so is its gradient.

    On a CPU, windows of 2 x 2 side by side take half the time this way, unless channels are last.
    """
    halves = kernel == stride == _PAIR and padding == (0, 0)
    even = value.shape[-2] % 2 == 0 and value.shape[-1] % 2 == 0
    if halves and even and value.device.type == "cpu" and value.is_contiguous():
        return _PairwiseMax.apply(value)
    return F.max_pool2d(value, kernel, stride, padding)


class _PairwiseMax(torch.autograd.Function):
    """The larger of neighbouring columns, then of neighbouring rows; of equal ones the first."""

    @staticmethod
    def forward(ctx, value):
        left, right = value[..., 0::2], value[..., 1::2]
        columns = torch.maximum(left, right)
        top, bottom = columns[..., 0::2, :], columns[..., 1::2, :]
        ctx.save_for_backward(right > left, bottom > top)
        return torch.maximum(top, bottom)

    @staticmethod
    def backward(ctx, gradient):
        from_right, from_bottom = ctx.saved_tensors
        columns = gradient.new_empty(from_right.shape)
        _split(gradient, from_bottom, columns[..., 0::2, :], columns[..., 1::2, :])
        whole = gradient.new_empty(*from_right.shape[:-1], 2 * from_right.shape[-1])
        _split(columns, from_right, whole[..., 0::2], whole[..., 1::2])
        return whole


def _split(gradient: Tensor, to_second: Tensor, first: Tensor, second: Tensor) -> None:
    """Writes ``gradient`` to where it came from, 0 to the other one."""
    torch.mul(gradient, to_second, out=second)
    torch.sub(gradient, second, out=first)
