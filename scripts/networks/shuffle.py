"""ShuffleNetV2 of width 1 (Ma et al. 2018): (N, 3, 224, 224) to (N, classes)."""

import torch
from torch import Tensor, nn

from scripts.networks.mobile import conv_unit

__all__ = ["shufflenet_v2"]


class _Unit(nn.Module):
    """Half of the channels pass by; with a stride all go both ways."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        half = outputs // 2
        own = inputs if stride > 1 else half
        self.beside = None
        if stride > 1:
            self.beside = nn.Sequential(
                *conv_unit(inputs, inputs, 3, stride, inputs, None),
                *conv_unit(inputs, half, 1, act=nn.ReLU),
            )
        self.body = nn.Sequential(
            *conv_unit(own, half, 1, act=nn.ReLU),
            *conv_unit(half, half, 3, stride, half, None),
            *conv_unit(half, half, 1, act=nn.ReLU),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.beside is None:
            past, x = x.chunk(2, 1)
        else:
            past = self.beside(x)
        y = torch.cat((past, self.body(x)), 1)
        n, channels, height, width = y.shape
        y = y.view(n, 2, channels // 2, height, width).transpose(1, 2)
        return y.reshape(n, channels, height, width)


def shufflenet_v2(classes: int = 1000) -> nn.Module:
    layers, inputs = [*conv_unit(3, 24, 3, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 24
    for outputs, units in ((116, 4), (232, 8), (464, 4)):
        for unit in range(units):
            layers.append(_Unit(inputs, outputs, 2 if unit == 0 else 1))
            inputs = outputs
    return nn.Sequential(
        *layers,
        *conv_unit(inputs, 1024, 1, act=nn.ReLU),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1024, classes),
    )
