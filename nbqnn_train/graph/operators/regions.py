"""Pooling over regions that differ from position to position."""

from dataclasses import dataclass

import numpy as np

from .. import limits
from ..checks import check_activation, check_int, feature_map, label
from ..errors import GraphError
from ..intervals import Interval, Step, ends
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["REGIONS", "RegionAverage2d", "RegionMax2d"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionMax2d(Unary):
    """``out[c, y, x]`` is the largest code in the region of position y, x.

    rows, columns : (OH, 2) and (OW, 2), the region of each row and each column of the output: its
        first position and the one behind its last. A region holds at least one position and lies
        inside the map.
    """

    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionAverage2d(Unary):
    """``acc[c, y, x] = multiplier[y, x] * (sum of the rows and columns of its region)``.

    Average pooling that does not count padding, is adaptive or has ``ceil_mode`` becomes this.
    ``multiplier[y, x] / 2**shift`` stands for one over the region's size: the accumulator's
    exponent is the input's minus ``shift``.

    rows, columns : as in :class:`RegionMax2d`.
    multiplier : (OH, OW), 1..2**8.
    """

    rows: np.ndarray
    columns: np.ndarray
    multiplier: np.ndarray
    shift: int
    acc_bits: int


def _check_regions(node: RegionMax2d | RegionAverage2d) -> None:
    for field in ("rows", "columns"):
        values = getattr(node, field)
        if values.ndim != 2 or values.shape[1] != 2 or not 0 < len(values) <= limits.MAX_DIMENSION:
            raise GraphError(f"{label(node)}: {field} must have shape (n, 2), not {values.shape}")
        bad = (values[:, 0] < 0) | (values[:, 1] <= values[:, 0])
        if bad.any():
            first, last = values[int(np.argmax(bad))]
            raise GraphError(
                f"{label(node)}: {field} must hold at least one position each, "
                f"not {int(first)}..{int(last)}"
            )


def _check_average(node: RegionAverage2d) -> None:
    _check_regions(node)
    shape = (len(node.rows), len(node.columns))
    low, high = limits.AVG_MULTIPLIER
    if node.multiplier.shape != shape:
        raise GraphError(
            f"{label(node)}: multiplier must have shape {shape}, not {node.multiplier.shape}"
        )
    if node.multiplier.min() < low or node.multiplier.max() > high:
        raise GraphError(f"{label(node)}: multiplier must be in {low}..{high}")
    check_int(node, "shift", limits.AVG_SHIFT)
    check_int(node, "acc_bits", limits.ACC_BITS)


def _shape(node: RegionMax2d | RegionAverage2d, source: TensorType) -> tuple[int, int, int]:
    check_activation(node, source, node.input)
    channels, *sizes = feature_map(node, source)
    for field, size in zip(("rows", "columns"), sizes, strict=True):
        last = int(getattr(node, field)[:, 1].max())
        if last > size:
            raise GraphError(
                f"{label(node)}: {field} must end at {size}, the size of {node.input!r}, not {last}"
            )
    return (channels, len(node.rows), len(node.columns))


def _infer_max(node: RegionMax2d, source: TensorType) -> TensorType:
    return TensorType(
        shape=_shape(node, source),
        bits=source.bits,
        signed=source.signed,
        exponent=source.exponent,
    )


def _infer_average(node: RegionAverage2d, source: TensorType) -> TensorType:
    shape = _shape(node, source)
    exponent = (source.exponent - int(node.shift),) * shape[0]
    return TensorType(shape=shape, bits=int(node.acc_bits), signed=True, exponent=exponent)


def _bound_max(node: RegionMax2d, types: dict[str, TensorType], source: Interval) -> Step:
    return Step(values=source)


def _bound_average(node: RegionAverage2d, types, source: Interval) -> Step:
    rows, columns = (np.diff(part, axis=1)[:, 0] for part in (node.rows, node.columns))
    factors = node.multiplier * rows[:, np.newaxis] * columns
    least, most = int(factors.min()), int(factors.max())
    low = np.minimum(source.low * least, source.low * most)
    high = np.maximum(source.high * least, source.high * most)
    partial = ends(Interval(np.minimum(low, 0), np.maximum(high, 0)))
    return Step(values=Interval(low, high), partial=partial, magnitude=max(-partial[0], partial[1]))


def _reduced(node: RegionMax2d | RegionAverage2d, combine: np.ufunc, x: np.ndarray) -> np.ndarray:
    """``x`` (N, C, H, W) combined over the rows, then the columns, of each region."""
    x = np.stack([combine.reduce(x[:, :, a:b], axis=2) for a, b in node.rows], axis=2)
    return np.stack([combine.reduce(x[:, :, :, a:b], axis=3) for a, b in node.columns], axis=3)


def _step_max(node: RegionMax2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return _reduced(node, np.maximum, x)


def _step_average(node: RegionAverage2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return _reduced(node, np.add, x.astype(dtype, copy=False)) * node.multiplier.astype(dtype)


REGIONS = {
    RegionMax2d: Operator(check=_check_regions, infer=_infer_max, bound=_bound_max, step=_step_max),
    RegionAverage2d: Operator(
        check=_check_average, infer=_infer_average, bound=_bound_average, step=_step_average
    ),
}
