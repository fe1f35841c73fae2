"""Which networks there are."""

from collections.abc import Callable
from functools import partial

from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.alexnet import AlexNet
from nbqnn_train.models.densenet import densenet121, densenet_bc_100_12
from nbqnn_train.models.digits import Digits
from nbqnn_train.models.lenet import LeNet5
from nbqnn_train.models.mobilenet import MobileNetV1
from nbqnn_train.models.nbq import NBQ
from nbqnn_train.models.resnet import BasicBlock, Bottleneck, ResNet
from nbqnn_train.models.resnet_cifar import CifarResNet
from nbqnn_train.models.vgg import VGG16

__all__ = ["MODELS", "build_model", "check_model"]

#: Each takes the number of classes and of input channels.
MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "alexnet": AlexNet,
    "densenet121": densenet121,
    "densenet_bc_100_12": densenet_bc_100_12,
    "digits": Digits,
    "lenet5": LeNet5,
    "mobilenet_v1": MobileNetV1,
    "nbq": NBQ,
    "nbq_small": partial(NBQ, width=16),
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet20": partial(CifarResNet, 3),
    "resnet32": partial(CifarResNet, 5),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet44": partial(CifarResNet, 7),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet56": partial(CifarResNet, 9),
    "vgg16": VGG16,
}


def check_model(name: str) -> None:
    """Raises :class:`NbqnnError` unless there is a network called ``name``."""
    if name not in MODELS:
        raise NbqnnError(f"Model must be one of {', '.join(sorted(MODELS))}, not {name!r}")


def build_model(name: str, classes: int, channels: int) -> nn.Module:
    """The network called ``name``, freshly initialised, for so many classes and input channels."""
    check_model(name)
    return MODELS[name](classes, channels)
