"""Convolution with given weights of 0 and 1: moves and pads channels, exactly."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.quant.weighted import Geometry

__all__ = ["FixedConvOp"]


class FixedConvOp(nn.Module):
    """Every ``stride``-th row and column, between ``padding`` channels of zeros on either side; the
    format of the input is kept.

    weight : (Cout, Cin, 1, 1), at most a single 1 per output channel and else zeros: the same as a
        convolution with ``geometry``, as the exported graph has it. Here values are copied, which
        takes less time.
    """

    def __init__(self, channels: int, padding: int, stride: int):
        super().__init__()
        self.padding = padding
        self.geometry = Geometry((stride, stride))
        weight = torch.zeros(channels + 2 * padding, channels, 1, 1)
        for channel in range(channels):
            weight[channel + padding, channel] = 1
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        result = self.copied(value)
        if record is not None:
            record("", result)
        return result

    def copied(self, value: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + 2 * padding, ceil(H / stride), ceil(W / stride))."""
        rows, columns = self.geometry.stride
        return F.pad(value[:, :, ::rows, ::columns], (0, 0, 0, 0, self.padding, self.padding))
