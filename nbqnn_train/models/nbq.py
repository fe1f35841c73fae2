"""A network in the spirit of the paper's n-BQ-NN: one kernel size, shifts only."""

from torch import Tensor, nn

__all__ = ["NBQ"]

#: Output channels of the 3 x 3 convolutions, in multiples of ``width``; "pool" halves the map.
_PLAN = (1, 1, "pool", 2, 2, "pool", 4, 4)


class NBQ(nn.Module):
    """Six 3 x 3 convolutions with batch norm, and a linear layer; 1.15 million parameters.

    (N, C, H, W) to (N, classes), for H and W that are multiples of 4.

    The paper states 1.2 million parameters and uniform 3 x 3 kernels for its T-BQ-NN. The number of
    layers and their widths are ours. Channel counts are multiples of 64, and global averaging of an
    8 x 8 map is a shift. With a quarter of the ``width`` it has 73,000 parameters.
    """

    def __init__(self, classes: int = 10, channels: int = 3, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for item in _PLAN:
            if item == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [
                nn.Conv2d(channels, item * width, 3, padding=1, bias=False),
                nn.BatchNorm2d(item * width),
                nn.ReLU(),
            ]
            channels = item * width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
