"""YOLOX-nano (Ge et al. 2021): (N, 3, 416, 416) to maps of 52 × 52, 26 × 26 and 13 × 13."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.networks.mobile import conv_unit

__all__ = ["yolox_nano"]


def _unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """A convolution; one of more than 1 × 1 is separable."""
    if kernel == 1:
        return nn.Sequential(*conv_unit(inputs, outputs, 1, act=nn.SiLU))
    return nn.Sequential(
        *conv_unit(inputs, inputs, kernel, stride, inputs, nn.SiLU),
        *conv_unit(inputs, outputs, 1, act=nn.SiLU),
    )


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, residual: bool):
        super().__init__()
        self.body = nn.Sequential(_unit(channels, channels), _unit(channels, channels, 3))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.residual else y


class _Partial(nn.Module):
    """Half of the channels pass the bottlenecks by."""

    def __init__(self, inputs: int, outputs: int, count: int = 1, residual: bool = False):
        super().__init__()
        half = outputs // 2
        self.past = _unit(inputs, half)
        self.body = nn.Sequential(
            _unit(inputs, half), *(_Bottleneck(half, residual) for _ in range(count))
        )
        self.join = _unit(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat((self.body(x), self.past(x)), 1))


class _Pyramid(nn.Module):
    """Maxima of windows of 5, 9 and 13, beside what they are of."""

    def __init__(self, channels: int):
        super().__init__()
        self.before = _unit(channels, channels // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.after = _unit(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        return self.after(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class _Head(nn.Module):
    """Box, and probabilities of an object and of each class, side by side."""

    def __init__(self, channels: int):
        super().__init__()
        self.stem = _unit(channels, 64)
        self.classes = nn.Sequential(_unit(64, 64, 3), _unit(64, 64, 3), nn.Conv2d(64, 80, 1))
        self.boxes = nn.Sequential(_unit(64, 64, 3), _unit(64, 64, 3))
        self.box = nn.Conv2d(64, 4, 1)
        self.there = nn.Conv2d(64, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        boxes = self.boxes(x)
        there, classes = self.there(boxes).sigmoid(), self.classes(x).sigmoid()
        return torch.cat((self.box(boxes), there, classes), 1)


class _YoloxNano(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), *conv_unit(12, 16, 3, act=nn.SiLU))
        self.dark3 = nn.Sequential(
            _unit(16, 32, 3, 2), _Partial(32, 32, 1, True),
            _unit(32, 64, 3, 2), _Partial(64, 64, 3, True),
        )  # fmt: skip
        self.dark4 = nn.Sequential(_unit(64, 128, 3, 2), _Partial(128, 128, 3, True))
        self.dark5 = nn.Sequential(_unit(128, 256, 3, 2), _Pyramid(256), _Partial(256, 256))
        self.lateral5, self.lateral4 = _unit(256, 128), _unit(128, 64)
        self.up4, self.up3 = _Partial(256, 128), _Partial(128, 64)
        self.down3, self.down4 = _unit(64, 64, 3, 2), _unit(128, 128, 3, 2)
        self.out4, self.out5 = _Partial(128, 128), _Partial(256, 256)
        self.heads = nn.ModuleList(_Head(channels) for channels in (64, 128, 256))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x3 = self.dark3(self.stem(x))
        x4 = self.dark4(x3)
        y5 = self.lateral5(self.dark5(x4))
        y4 = self.up4(torch.cat((F.interpolate(y5, scale_factor=2), x4), 1))
        y4 = self.lateral4(y4)
        y3 = self.up3(torch.cat((F.interpolate(y4, scale_factor=2), x3), 1))
        z4 = self.out4(torch.cat((self.down3(y3), y4), 1))
        z5 = self.out5(torch.cat((self.down4(z4), y5), 1))
        return tuple(head(x) for head, x in zip(self.heads, (y3, z4, z5), strict=True))


def yolox_nano() -> nn.Module:
    return _YoloxNano()
