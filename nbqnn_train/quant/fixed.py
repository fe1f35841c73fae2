"""Convolution with given weights of 0 and 1: moves and pads channels and positions, exactly."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.quant.weighted import Geometry

__all__ = ["FixedConvOp"]


class FixedConvOp(nn.Module):
    """Puts zeros around a map, takes every ``stride``-th row and column, and adds channels of zeros
    before and after.

    The format of the input is kept.

    weight : (Cout, Cin / groups, 1, 1), at most a single 1 per output channel and else zeros: the
        same as a convolution with ``geometry``, as the exported graph has it. Here values are
        copied, which takes less time.

    Parameters
    ----------
    channels : of the input.
    added : channels of zeros before and after them.
    stride : (vertical, horizontal).
    padding : zeros around the map, (top, left, bottom, right).
    """

    def __init__(
        self,
        channels: int,
        added: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ):
        super().__init__()
        self.added = added
        groups = 1 if any(added) else channels
        self.geometry = Geometry(stride, padding, groups=groups)
        if not any(added):
            weight = torch.ones(channels, 1, 1, 1)
        else:
            weight = torch.zeros(channels + sum(added), channels, 1, 1)
            for channel in range(channels):
                weight[channel + added[0], channel] = 1
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        result = self.copied(value)
        if record is not None:
            record("", result)
        return result

    def copied(self, value: Tensor) -> Tensor:
        """(N, C, H, W) with zeros around, every ``stride``-th row and column, channels added."""
        top, left, bottom, right = self.geometry.padding
        if any(self.geometry.padding):
            value = F.pad(value, (left, right, top, bottom))
        rows, columns = self.geometry.stride
        return F.pad(value[:, :, ::rows, ::columns], (0, 0, 0, 0, *self.added))
