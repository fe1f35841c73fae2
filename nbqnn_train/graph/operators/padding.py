"""Padding of maps: with a constant, with the border, or with the mirror image."""

from dataclasses import dataclass, replace

import numpy as np

from .. import limits
from ..checks import check_activation, check_int, check_ints, feature_map, label, short
from ..errors import GraphError
from ..intervals import Interval, Step
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["PADDING", "Pad2d"]

#: Mode of padding -> its name in NumPy.
_MODES = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pad2d(Unary):
    """Padding as a node of its own: positions are added around a map.

    padding : (top, left, bottom, right); with ``reflect`` less than the map's size.
    mode : ``constant`` (the code ``value``), ``replicate`` (the nearest position of the map) or
        ``reflect`` (mirrored at the border, which is not repeated).
    value : a code of the input's format; 0 where the mode is not ``constant``.
    """

    padding: tuple[int, int, int, int]
    mode: str
    value: int


def _check(node: Pad2d) -> None:
    check_ints(node, "padding", 4, limits.PADDING)
    if node.mode not in _MODES:
        raise GraphError(
            f"{label(node)}: mode must be one of {', '.join(_MODES)}, not {short(node.mode)}"
        )
    whole = (-(1 << 15), (1 << 16) - 1) if node.mode == "constant" else (0, 0)
    check_int(node, "value", whole)


def _infer(node: Pad2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels, height, width = feature_map(node, source)
    if not source.low <= node.value <= source.high:
        raise GraphError(
            f"{label(node)}: value must be in {source.low}..{source.high}, the range of "
            f"{node.input!r}, not {node.value}"
        )
    top, left, bottom, right = node.padding
    if node.mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
        raise GraphError(
            f"{label(node)}: padding by reflection must be less than the map's {height} x {width}, "
            f"not {tuple(node.padding)}"
        )
    size = (height + top + bottom, width + left + right)
    if max(size) > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: output must be at most {limits.MAX_DIMENSION} high and wide, "
            f"not {size}"
        )
    return replace(source, shape=(channels, *size))


def _bound(node: Pad2d, types: dict[str, TensorType], source: Interval) -> Step:
    if node.mode != "constant" or not any(node.padding):
        return Step(values=source)
    return Step(
        values=Interval(np.minimum(source.low, node.value), np.maximum(source.high, node.value))
    )


def _step(node: Pad2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    top, left, bottom, right = node.padding
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    if node.mode == "constant":
        return np.pad(x, widths, constant_values=node.value)
    return np.pad(x, widths, mode=_MODES[node.mode])


PADDING = {Pad2d: Operator(check=_check, infer=_infer, bound=_bound, step=_step)}
