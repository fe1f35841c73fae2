"""The number of the largest channel."""

from dataclasses import dataclass

import numpy as np

from .. import limits
from ..checks import check_activation, label
from ..errors import GraphError
from ..intervals import Interval, Step
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["CHOICE", "ArgMax"]

_MOST_BITS = limits.ACT_BITS[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArgMax(Unary):
    """The number of the largest channel at each position; the first of equal ones.

    The output has one channel (a vector: one feature), is unsigned and has exponent 0. Its width is
    what 0 ... C - 1 need, at least 2 bits.
    """


def _check(node: ArgMax) -> None:
    """ArgMax has no fields beyond its input."""


def _infer(node: ArgMax, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    bits = max(2, (source.shape[0] - 1).bit_length())
    if bits > _MOST_BITS:
        raise GraphError(
            f"{label(node)}: input {node.input!r} must have at most {1 << _MOST_BITS} channels, "
            f"not {source.shape[0]}"
        )
    return TensorType(shape=(1, *source.shape[1:]), bits=bits, signed=False, exponent=0)


def _bound(node: ArgMax, types: dict[str, TensorType], source: Interval) -> Step:
    last = types[node.input].shape[0] - 1
    return Step(values=Interval(np.array([0]), np.array([last])))


def _step(node: ArgMax, source: TensorType, dtype, batch: int, x: np.ndarray) -> np.ndarray:
    return x.argmax(axis=1)[:, np.newaxis].astype(x.dtype)


CHOICE = {ArgMax: Operator(check=_check, infer=_infer, bound=_bound, step=_step)}
