"""Detectors up to their output maps: YOLOv3-tiny, and SSD on MobileNetV2.

Redmon and Farhadi 2018; Liu et al. 2016 with the light heads of Sandler et al. 2018. 80 classes.
"""

import torch
from torch import Tensor, nn

from scripts.networks.mobile import conv_unit, mobilenet_v2_features

__all__ = ["ssd_mobilenet_v2", "yolov3_tiny"]


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)


def _unit(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return conv_unit(inputs, outputs, kernel, act=_leaky)


class _YoloTiny(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for outputs in (16, 32, 64, 128):
            layers += [*_unit(inputs, outputs, 3), nn.MaxPool2d(2)]
            inputs = outputs
        self.shallow = nn.Sequential(*layers, *_unit(128, 256, 3))
        self.deep = nn.Sequential(
            nn.MaxPool2d(2),
            *_unit(256, 512, 3),
            # The last row and column have the maxima of what is there.
            nn.ReplicationPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(2, 1),
            *_unit(512, 1024, 3),
            *_unit(1024, 256, 1),
        )
        self.coarse = nn.Sequential(*_unit(256, 512, 3), nn.Conv2d(512, 255, 1))
        self.up = nn.Sequential(*_unit(256, 128, 1), nn.Upsample(scale_factor=2))
        self.fine = nn.Sequential(*_unit(384, 256, 3), nn.Conv2d(256, 255, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.shallow(x)
        deep = self.deep(shallow)
        return self.coarse(deep), self.fine(torch.cat((self.up(deep), shallow), 1))


def yolov3_tiny() -> nn.Module:
    """(N, 3, 416, 416) to maps of 13 × 13 and 26 × 26."""
    return _YoloTiny()


class _Ssd(nn.Module):
    def __init__(self):
        super().__init__()
        features = mobilenet_v2_features()
        # The expansion of block 14 has a head.
        self.shallow = nn.Sequential(*features[:14], *features[14].body[:3])
        self.deep = nn.Sequential(*features[14].body[3:], *features[15:])
        self.extra = nn.ModuleList()
        inputs = 1280
        for outputs in (512, 256, 256, 128):
            inner = outputs // 2
            self.extra.append(
                nn.Sequential(
                    *conv_unit(inputs, inner, 1),
                    *conv_unit(inner, inner, 3, 2, inner),
                    *conv_unit(inner, outputs, 1),
                )
            )
            inputs = outputs
        self.heads = nn.ModuleList(
            nn.Sequential(
                *conv_unit(channels, channels, 3, 1, channels),
                nn.Conv2d(channels, boxes * (81 + 4), 1),
            )
            for channels, boxes in ((576, 3), (1280, 6), (512, 6), (256, 6), (256, 6), (128, 6))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [self.shallow(x)]
        maps.append(self.deep(maps[-1]))
        for extra in self.extra:
            maps.append(extra(maps[-1]))
        return tuple(head(x) for head, x in zip(self.heads, maps, strict=True))


def ssd_mobilenet_v2() -> nn.Module:
    """(N, 3, 300, 300) to six maps, of 19 × 19 to 1 × 1."""
    return _Ssd()
