"""VGG-16 (Simonyan, Zisserman 2014) without batch norm, with torchvision's parameter names."""

from torch import Tensor, nn

__all__ = ["VGG16"]

#: Output channels and numbers of the 3 x 3 convolutions between poolings.
_PLAN = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG16(nn.Module):
    """(N, C, 224, 224) to (N, classes)."""

    def __init__(self, classes: int = 1000, channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = []
        for outputs, count in _PLAN:
            for _ in range(count):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
