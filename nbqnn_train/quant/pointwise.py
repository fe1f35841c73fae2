"""Functions of one element, kept as the calls of PyTorch's operators that they are made of."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["ELEMENT", "Pointwise", "called", "substituted"]

#: Stands for the element in an expression; "weight" stands for the learned number.
ELEMENT = "element"
_WEIGHT = "weight"

#: ELEMENT, "weight", a number, or (operator, arguments, named arguments) with expressions in them.
Expression = object


def called(target: Callable, arguments: tuple, named: dict) -> Expression:
    """The expression of a call; arguments are expressions or plain values."""
    return (target, tuple(arguments), tuple(sorted(named.items())))


def substituted(expression: Expression, inner: Expression) -> Expression:
    """``expression`` of ``inner`` in place of the element."""
    if expression == ELEMENT:
        return inner
    if not isinstance(expression, tuple):
        return expression
    target, arguments, named = expression
    return (target, tuple(substituted(a, inner) for a in arguments), named)


class Pointwise(nn.Module):
    """A function of each element of a tensor.

    weight : the only number that it learns, or None.
    """

    def __init__(self, expression: Expression, weight: nn.Parameter | None = None):
        super().__init__()
        self.expression = expression
        self.weight = weight

    def forward(self, value: Tensor) -> Tensor:
        return _computed(self.expression, value, self.weight)

    def exactly(self, value: Tensor) -> Tensor:
        """In float64 and without a gradient."""
        with torch.no_grad():
            weight = None if self.weight is None else self.weight.double()
            return _computed(self.expression, value.double(), weight)

    @property
    def label(self) -> str:
        """The name of the outermost operator that is more than a factor and a summand."""
        return _label(self.expression) or "function"


def _label(expression: Expression) -> str:
    if not isinstance(expression, tuple):
        return ""
    target, arguments, _ = expression
    packet = getattr(target, "overloadpacket", target)
    name = getattr(packet, "__name__", str(packet))
    own = name if not name.startswith("_") else ""
    return own.strip("_") or next(filter(None, map(_label, arguments)), "")


def _computed(expression: Expression, value: Tensor, weight: Tensor | None):
    if isinstance(expression, str):
        if expression == ELEMENT:
            return value
        return weight if expression == _WEIGHT else expression
    if not isinstance(expression, tuple):
        return expression
    target, arguments, named = expression
    return target(*(_computed(a, value, weight) for a in arguments), **dict(named))
