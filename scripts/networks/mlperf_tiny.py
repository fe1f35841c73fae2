"""The four networks of MLPerf Tiny (Banbury et al. 2021)."""

from itertools import pairwise

from torch import Tensor, nn

from scripts.networks.mobile import conv_unit

__all__ = ["autoencoder", "ds_cnn", "mobilenet_v1_quarter", "resnet8"]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *conv_unit(inputs, outputs, 3, stride, act=nn.ReLU),
            *conv_unit(outputs, outputs, 3, act=None),
        )
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.short(x)).relu()


def resnet8() -> nn.Module:
    """Images: (N, 3, 32, 32) to (N, 10)."""
    return nn.Sequential(
        *conv_unit(3, 16, 3, act=nn.ReLU),
        _Block(16, 16, 1),
        _Block(16, 32, 2),
        _Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def _separable(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        *conv_unit(inputs, inputs, 3, stride, inputs, nn.ReLU),
        *conv_unit(inputs, outputs, 1, act=nn.ReLU),
    ]


def mobilenet_v1_quarter() -> nn.Module:
    """Whether a person is there: (N, 3, 96, 96) to (N, 2)."""
    layers, inputs = conv_unit(3, 8, 3, 2, act=nn.ReLU), 8
    plan = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5)
    for outputs, stride in (*plan, (256, 2), (256, 1)):
        layers += _separable(inputs, outputs, stride)
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


def ds_cnn() -> nn.Module:
    """Spoken words: (N, 1, 49, 10) to (N, 12)."""
    return nn.Sequential(
        nn.ZeroPad2d((1, 1, 4, 5)),
        nn.Conv2d(1, 64, (10, 4), 2, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *(layer for _ in range(4) for layer in _separable(64, 64)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 12),
    )


def autoencoder() -> nn.Module:
    """Sounds of machines: (N, 640) to (N, 640)."""
    widths = (640, *(128,) * 4, 8, *(128,) * 4)
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 640))
