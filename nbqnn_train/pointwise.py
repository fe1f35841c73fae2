"""Functions of one element that somebody wrote himself, for networks that are quantized."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["pointwise", "pointwise_function", "reading_pointwise"]

_FUNCTIONS: list[Callable[[Tensor], Tensor]] = []
_reading = False


@torch.library.custom_op("nbqnn::pointwise", mutates_args=())
def _pointwise(value: Tensor, key: int) -> Tensor:
    return _FUNCTIONS[key](value).clone()


@_pointwise.register_fake
def _(value: Tensor, key: int) -> Tensor:
    return torch.empty_like(value)


def pointwise(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Marks a function of one tensor that gives each element on its own.

    Where a network is read it becomes one table, whatever operators it is made of. The result must
    depend on the element alone: not on its place, not on others, not on anything random. Learned
    numbers in it are taken as they are when the network is read. ::

        @pointwise
        def bump(x):
            return torch.where(x.abs() < 1, 1 - x**2, 0)
    """
    key = len(_FUNCTIONS)
    _FUNCTIONS.append(function)

    @wraps(function)
    def called(value: Tensor) -> Tensor:
        return torch.ops.nbqnn.pointwise(value, key) if _reading else function(value)

    return called


def pointwise_function(key: int) -> Callable[[Tensor], Tensor]:
    """The function that a call of ``nbqnn::pointwise`` stands for.

    Raises :class:`NbqnnError` where it is no function of one element.
    """
    function = _FUNCTIONS[key]
    points = torch.linspace(-8, 8, 65, dtype=torch.float64)
    with torch.no_grad():
        once, turned = function(points), function(points.flip(0).reshape(5, 13))
    same = once.shape == points.shape and turned.numel() == points.numel()
    if not same or not torch.allclose(once, turned.reshape(-1).flip(0), equal_nan=True):
        raise NbqnnError(
            f"Function {function.__name__!r} must give each element on its own to be pointwise"
        )
    return function


@contextmanager
def reading_pointwise() -> Iterator[None]:
    """While it lasts, calls of marked functions are recorded as one operator."""
    global _reading
    before, _reading = _reading, True
    try:
        yield
    finally:
        _reading = before
