"""The networks by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.alexnet import AlexNet
from nbqnn_train.models.custom import custom_model
from nbqnn_train.models.densenet import densenet121, densenet_bc_100_12
from nbqnn_train.models.digits import Digits
from nbqnn_train.models.from_onnx import is_onnx_file, onnx_network
from nbqnn_train.models.lenet import LeNet5
from nbqnn_train.models.mobilenet import MobileNetV1
from nbqnn_train.models.nbq import NBQ, NBQ7
from nbqnn_train.models.resnet import BasicBlock, Bottleneck, ResNet
from nbqnn_train.models.resnet8 import ResNet8
from nbqnn_train.models.resnet_cifar import CifarResNet
from nbqnn_train.models.vgg import VGG16
from nbqnn_train.user_code import is_user_name

__all__ = ["MODELS", "build_model", "check_model"]

_CLASSES = 10
#: Name -> function of the number of classes and of input channels.
MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "alexnet": AlexNet,
    "densenet121": densenet121,
    "densenet_bc_100_12": densenet_bc_100_12,
    "digits": Digits,
    "lenet5": LeNet5,
    "mobilenet_v1": MobileNetV1,
    "nbq": NBQ,
    "nbq7": NBQ7,
    "nbq_small": partial(NBQ, width=16),
    "resnet8": ResNet8,
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
    """Raises :class:`NbqnnError` unless ``name`` names a network, a user's function or a file."""
    if name in MODELS or is_user_name(name) or is_onnx_file(name):
        return
    raise NbqnnError(
        f"Model must be one of {', '.join(sorted(MODELS))}, FILE.py:function, module:function or "
        f"FILE.onnx, not {name!r}"
    )


def build_model(name: str, classes: int | None, channels: int) -> nn.Module:
    """The network called ``name`` for these numbers of classes and input channels.

    A network of the registry is freshly initialised. A user's function decides itself, see
    :mod:`nbqnn_train.models.custom`. An ONNX file gives its weights and has its own numbers
    of classes and channels.

    ``classes`` None means 10, or the default of a user's function.
    """
    check_model(name)
    if name in MODELS:
        return MODELS[name](_CLASSES if classes is None else classes, channels)
    if is_onnx_file(name):
        return onnx_network(Path(name))
    return custom_model(name, classes, channels)
