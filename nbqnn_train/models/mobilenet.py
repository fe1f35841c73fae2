"""MobileNet (Howard et al. 2017): depthwise 3 x 3 and pointwise convolutions in turn."""

from torch import Tensor, nn

__all__ = ["MobileNetV1"]

#: Output channels and strides of the depthwise separable layers.
_PLAN = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
_TAIL = (*((512, 1),) * 5, (1024, 2), (1024, 1))


def _unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class MobileNetV1(nn.Module):
    """(N, C, 224, 224) to (N, classes); other sizes that are multiples of 32 work as well."""

    def __init__(self, classes: int = 1000, channels: int = 3):
        super().__init__()
        layers = _unit(channels, 32, 3, 2, 1)
        inputs = 32
        for outputs, stride in _PLAN + _TAIL:
            layers += _unit(inputs, inputs, 3, stride, inputs)
            layers += _unit(inputs, outputs, 1, 1, 1)
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
