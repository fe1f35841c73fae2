"""From an image to an image: U-Net, and ESPCN, which enlarges three times.

Ronneberger et al. 2015 (padded, with batch norm); Shi et al. 2016.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from scripts.networks.mobile import conv_unit

__all__ = ["espcn", "unet"]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *conv_unit(inputs, outputs, 3, act=nn.ReLU), *conv_unit(outputs, outputs, 3, act=nn.ReLU)
    )


class _UNet(nn.Module):
    def __init__(self):
        super().__init__()
        channels = (32, 64, 128, 256, 512)
        pairs = list(pairwise(channels))
        self.first = _double(3, 32)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _double(*pair)) for pair in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in reversed(pairs))
        self.join = nn.ModuleList(_double(2 * a, a) for a, _ in reversed(pairs))
        self.classes = nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat((maps.pop(), up(x)), 1))
        return self.classes(x)


def unet() -> nn.Module:
    """Four levels, 32 to 512 channels: (N, 3, 256, 256) to (N, 2, 256, 256)."""
    return _UNet()


def espcn() -> nn.Module:
    """(N, 1, 360, 640) to (N, 1, 1080, 1920)."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 9, 3, padding=1),
        nn.PixelShuffle(3),
    )
