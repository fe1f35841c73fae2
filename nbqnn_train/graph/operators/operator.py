"""What defines a kind of node."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..intervals import Step
from ..nodes import Node, TensorType

__all__ = ["Operator"]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """The four functions that validate and run a kind of node.

    check : ``(node)``, raises :class:`GraphError` for the first field that is not allowed.
    infer : ``(node, *types of its inputs)``, the type of its tensor.
    bound : ``(node, types by name, *intervals of its inputs)``, the values that can occur.
    step : ``(node, type of its first input, dtype, batch, *codes of its inputs)``, its codes;
        ``dtype`` holds every sum of an accumulator without rounding.
    """

    check: Callable[[Node], None]
    infer: Callable[..., TensorType]
    bound: Callable[..., Step]
    step: Callable[..., np.ndarray]
