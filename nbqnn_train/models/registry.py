"""Which networks there are."""

from collections.abc import Callable

from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.digits import Digits

__all__ = ["MODELS", "build_model", "check_model"]

#: Each takes the number of classes and of input channels.
MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "digits": Digits,
}


def check_model(name: str) -> None:
    """Raises :class:`NbqnnError` unless there is a network called ``name``."""
    if name not in MODELS:
        raise NbqnnError(f"Model must be one of {', '.join(sorted(MODELS))}, not {name!r}")


def build_model(name: str, classes: int, channels: int) -> nn.Module:
    """The network called ``name``, freshly initialised, for so many classes and input channels."""
    check_model(name)
    return MODELS[name](classes, channels)
