"""Densely connected networks (Huang et al. 2016), with torchvision's parameter names."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

__all__ = ["DenseNet", "densenet121", "densenet_bc_100_12"]


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int):
        super().__init__()
        inner = 4 * growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(out)))], 1)


def _dense_block(inputs: int, layers: int, growth: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            (f"denselayer{number + 1}", _DenseLayer(inputs + number * growth, growth))
            for number in range(layers)
        )
    )


def _transition(inputs: int) -> nn.Sequential:
    """Halves channels, height and width."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(nn.Module):
    """(N, C, H, W) to (N, classes).

    growth : channels that each layer adds.
    blocks : layers of each dense block.
    stem : output channels of the first convolution.
    large : whether the stem shrinks images by 4, as for ImageNet.
    """

    def __init__(
        self,
        growth: int,
        blocks: tuple[int, ...],
        stem: int,
        *,
        large: bool,
        classes: int,
        channels: int,
    ):
        super().__init__()
        if large:
            parts = [
                ("conv0", nn.Conv2d(channels, stem, 7, 2, 3, bias=False)),
                ("norm0", nn.BatchNorm2d(stem)),
                ("relu0", nn.ReLU()),
                ("pool0", nn.MaxPool2d(3, 2, 1)),
            ]
        else:
            parts = [("conv0", nn.Conv2d(channels, stem, 3, padding=1, bias=False))]
        width = stem
        for index, layers in enumerate(blocks, start=1):
            parts.append((f"denseblock{index}", _dense_block(width, layers, growth)))
            width += layers * growth
            if index < len(blocks):
                parts.append((f"transition{index}", _transition(width)))
                width //= 2
        parts += [(f"norm{len(blocks) + 1}", nn.BatchNorm2d(width))]
        self.features = nn.Sequential(OrderedDict(parts))
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.relu(self.features(x))).flatten(1))


def densenet121(classes: int = 1000, channels: int = 3) -> DenseNet:
    """DenseNet-121 for 224 x 224 images."""
    return DenseNet(32, (6, 12, 24, 16), 64, large=True, classes=classes, channels=channels)


def densenet_bc_100_12(classes: int = 10, channels: int = 3) -> DenseNet:
    """DenseNet-BC for 32 x 32 images: 100 layers, growth 12, bottlenecks and compression."""
    return DenseNet(12, (16, 16, 16), 24, large=False, classes=classes, channels=channels)
