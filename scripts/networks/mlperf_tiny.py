"""Networks of MLPerf Tiny (Banbury et al. 2021). Its ResNet-8 is in :mod:`nbqnn_train.models`."""

from itertools import pairwise

from torch import nn

from scripts.networks.mobile import conv_unit

__all__ = ["autoencoder", "ds_cnn", "mobilenet_v1_quarter"]


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
