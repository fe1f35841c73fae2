"""The ResNet-8 of MLPerf Tiny (Banbury et al. 2021) for 32 x 32 images."""

from torch import Tensor, nn

__all__ = ["ResNet8"]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *_conv_unit(inputs, outputs, stride),
            nn.ReLU(),
            *_conv_unit(outputs, outputs, 1),
        )
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.short(x)).relu()


def _conv_unit(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return conv, nn.BatchNorm2d(outputs)


class ResNet8(nn.Sequential):
    """(N, C, 32, 32) to (N, classes). A shortcut is a convolution where the size changes."""

    def __init__(self, classes: int = 10, channels: int = 3):
        super().__init__(
            *_conv_unit(channels, 16, 1),
            nn.ReLU(),
            _Block(16, 16, 1),
            _Block(16, 32, 2),
            _Block(32, 64, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, classes),
        )
