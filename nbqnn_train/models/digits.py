"""A small network for 8 x 8 digits."""

from torch import Tensor, nn

__all__ = ["Digits"]


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class Digits(nn.Module):
    """Three 3 x 3 convolutions, two poolings, one linear layer; (N, 1, 8, 8) to (N, classes).

    Channel counts are multiples of 16, the lanes of a small array.
    """

    def __init__(self, classes: int = 10, channels: int = 1):
        super().__init__()
        self.features = nn.Sequential(
            *_block(channels, 16),
            *_block(16, 32),
            nn.MaxPool2d(2),
            *_block(32, 32),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32 * 2 * 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))
