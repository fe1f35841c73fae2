"""Networks in the spirit of the paper's n-BQ-NN: one kernel size, shifts only."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["NBQ", "NBQ7"]

#: Output channels of the 3 x 3 convolutions, in multiples of ``width``; "pool" halves the map.
_PLAN = (1, 1, "pool", 2, 2, "pool", 4, 4)
#: The same in multiples of 32.
_PLAN_7 = (1, 2, "pool", 2, 6, "pool", 6, 6, "pool", 6)


class NBQ(nn.Module):
    """Six 3 x 3 convolutions with batch norm, and a linear layer; 1.15 million parameters.

    (N, C, H, W) to (N, classes), for H and W that are multiples of 4.

    The paper states 1.2 million parameters and uniform 3 x 3 kernels for its T-BQ-NN. The number of
    layers and their widths are ours. Channel counts are multiples of 64, and global averaging of an
    8 x 8 map is a shift. With a quarter of the ``width`` it has 73,000 parameters.
    """

    def __init__(self, classes: int = 10, channels: int = 3, width: int = 64):
        super().__init__()
        self.features, channels = _convolutions(_PLAN, channels, width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class NBQ7(nn.Module):
    """Seven 3 x 3 convolutions with batch norm, and a linear layer; 1.17 million parameters.

    (N, C, 32, 32) to (N, classes).

    Maps become small early: 105 million multiplications where :class:`NBQ` has 153 million. Widths
    are near those of the network of arXiv 2404.00498, with a narrow first layer in place of its
    whitening, and batch norm in front of pooling, so that a convolution, its batch norm and its
    ReLU are one layer of the hardware.
    """

    def __init__(self, classes: int = 10, channels: int = 3):
        super().__init__()
        self.features, channels = _convolutions(_PLAN_7, channels, 32)
        self.maxpool = nn.MaxPool2d(4)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.maxpool(self.features(x)).flatten(1))


def _convolutions(plan: Sequence[int | str], channels: int, width: int) -> tuple[nn.Module, int]:
    """Convolutions and poolings as the plan says, and the number of channels behind them."""
    layers: list[nn.Module] = []
    for item in plan:
        if isinstance(item, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [
            nn.Conv2d(channels, item * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(item * width),
            nn.ReLU(),
        ]
        channels = item * width
    return nn.Sequential(*layers), channels
