"""LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, as it is usual today."""

from torch import Tensor, nn

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """(N, C, 28, 28) to (N, classes); two 5 x 5 convolutions and three linear layers."""

    def __init__(self, classes: int = 10, channels: int = 1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))
