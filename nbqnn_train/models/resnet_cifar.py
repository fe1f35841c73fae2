"""The residual networks for 32 x 32 images of He et al. 2015, section 4.2.

Parameter names are those of the common pretrained files (``layer1.0.conv1.weight``,
``linear.weight``).
"""

from torch import Tensor, nn

from nbqnn_train.models.shortcut import PaddedShortcut

__all__ = ["CifarResNet"]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = PaddedShortcut(inputs, (outputs - inputs) // 2, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """``6 * blocks + 2`` layers; (N, C, 32, 32) to (N, classes)."""

    def __init__(self, blocks: int, classes: int = 10, channels: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._layer(16, 16, blocks, 1)
        self.layer2 = self._layer(16, 32, blocks, 2)
        self.layer3 = self._layer(32, 64, blocks, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [_Block(outputs, outputs, 1) for _ in range(blocks - 1)]
        return nn.Sequential(_Block(inputs, outputs, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))
