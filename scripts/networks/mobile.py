"""MobileNetV2, MobileNetV3-large and EfficientNet-B0: (N, 3, 224, 224) to (N, classes), and one
like MobileNetV3 for 32 x 32 images.

Sandler et al. 2018, Howard et al. 2019, Tan and Le 2019.
"""

from torch import Tensor, nn

__all__ = [
    "InvertedResidual",
    "conv_unit",
    "efficientnet_b0",
    "mobilenet_v2",
    "mobilenet_v2_features",
    "mobilenet_v3_cifar",
    "mobilenet_v3_large",
]

#: Expansion, output channels, blocks, stride.
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
_V2 = (*_V2, (6, 320, 1, 1))
#: Kernel, expanded channels, output channels, squeeze and excite, hard swish, stride.
_V3 = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    *((5, 120, 40, True, False, 1),) * 2,
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    *((3, 184, 80, False, True, 1),) * 2,
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    *((5, 960, 160, True, True, 1),) * 2,
)
#: The same for images of 32 x 32 pixels, after MobileNetV3-small, with small kernels alone.
_V3_CIFAR = (
    (3, 16, 16, True, False, 2),
    (3, 64, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (3, 96, 40, True, True, 1),
    *((3, 160, 40, True, True, 1),) * 2,
    (3, 192, 64, True, True, 2),
    *((3, 256, 64, True, True, 1),) * 2,
)
#: Expansion, kernel, stride, output channels, blocks.
_B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def conv_unit(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU6,
) -> list[nn.Module]:
    """A convolution, its batch norm and its function, as modules."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return layers if act is None else [*layers, act()]


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int, act: type[nn.Module], gate: type[nn.Module]):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            act(),
            nn.Conv2d(inner, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; around it a sum where shapes agree.

    ``squeeze`` are modules between the depthwise convolution and the projection.
    """

    def __init__(
        self,
        inputs: int,
        wide: int,
        outputs: int,
        kernel: int,
        stride: int,
        act: type[nn.Module] = nn.ReLU6,
        squeeze: tuple[nn.Module, ...] = (),
    ):
        super().__init__()
        expand = conv_unit(inputs, wide, 1, act=act) if wide != inputs else []
        self.body = nn.Sequential(
            *expand,
            *conv_unit(wide, wide, kernel, stride, wide, act),
            *squeeze,
            *conv_unit(wide, outputs, 1, act=None),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.residual else y


def mobilenet_v2_features() -> list[nn.Module]:
    """All layers before the average: stem, 17 blocks, last convolution."""
    layers, inputs = [nn.Sequential(*conv_unit(3, 32, 3, 2))], 32
    for expansion, outputs, blocks, stride in _V2:
        for block in range(blocks):
            step = stride if block == 0 else 1
            layers.append(InvertedResidual(inputs, expansion * inputs, outputs, 3, step))
            inputs = outputs
    return [*layers, nn.Sequential(*conv_unit(inputs, 1280, 1))]


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    return nn.Sequential(
        *mobilenet_v2_features(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1280, classes),
    )


def _v3_blocks(plan: tuple[tuple, ...], inputs: int) -> list[nn.Module]:
    layers = []
    for kernel, wide, outputs, excite, swish, stride in plan:
        squeeze = ()
        if excite:
            # The multiple of 8 that is nearest to a quarter, and not below nine tenths of it.
            inner = (wide // 4 + 4) // 8 * 8
            inner += 8 if 10 * inner < 9 * (wide // 4) else 0
            squeeze = (_SqueezeExcite(wide, inner, nn.ReLU, nn.Hardsigmoid),)
        act = nn.Hardswish if swish else nn.ReLU
        layers.append(InvertedResidual(inputs, wide, outputs, kernel, stride, act, squeeze))
        inputs = outputs
    return layers


def mobilenet_v3_large(classes: int = 1000) -> nn.Module:
    return nn.Sequential(
        *conv_unit(3, 16, 3, 2, act=nn.Hardswish),
        *_v3_blocks(_V3, 16),
        *conv_unit(160, 960, 1, act=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(960, 1280),
        nn.Hardswish(),
        nn.Linear(1280, classes),
    )


def mobilenet_v3_cifar(classes: int = 10) -> nn.Module:
    """(N, 3, 32, 32) to (N, classes): 277,538 parameters with 10 classes."""
    return nn.Sequential(
        *conv_unit(3, 16, 3, act=nn.Hardswish),
        *_v3_blocks(_V3_CIFAR, 16),
        *conv_unit(64, 256, 1, act=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, classes),
    )


def efficientnet_b0(classes: int = 1000) -> nn.Module:
    layers, inputs = conv_unit(3, 32, 3, 2, act=nn.SiLU), 32
    for expansion, kernel, stride, outputs, blocks in _B0:
        for block in range(blocks):
            wide, step = expansion * inputs, stride if block == 0 else 1
            squeeze = (_SqueezeExcite(wide, inputs // 4, nn.SiLU, nn.Sigmoid),)
            layers.append(InvertedResidual(inputs, wide, outputs, kernel, step, nn.SiLU, squeeze))
            inputs = outputs
    return nn.Sequential(
        *layers,
        *conv_unit(inputs, 1280, 1, act=nn.SiLU),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1280, classes),
    )
