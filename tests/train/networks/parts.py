"""Pieces of the small networks that tests read."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["DropPath", "FrozenBatchNorm", "Net", "StandardizedConv", "conv", "conv_bn"]


class Net(nn.Module):
    """A module whose forward is a function of it and its inputs."""

    def __init__(self, function: Callable, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs, **named):
        return self.function(self, *inputs, **named)


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Conv2d:
    """A convolution that keeps the size of the map at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def conv_bn(inputs: int, outputs: int, kernel: int = 3, act=nn.ReLU, **options) -> nn.Sequential:
    """Convolution, batch norm and activation function (None for without)."""
    layers = [conv(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([] if act is None else [act()]))


class FrozenBatchNorm(nn.Module):
    """As torchvision has it: buffers alone, and arithmetic in place of a batch norm."""

    def __init__(self, channels: int):
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + 1e-5).rsqrt()
        return x * scale + (self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale)


class StandardizedConv(nn.Conv2d):
    """Weights of mean 0 and variance 1, computed in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., arXiv 1603.09382), as timm has it."""

    def __init__(self, share: float = 0.5):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty(len(x), *(1,) * (x.dim() - 1)).bernoulli_(1 - self.share)
        return x * kept / (1 - self.share)
