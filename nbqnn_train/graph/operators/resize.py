"""Nodes that enlarge maps: they repeat positions, or interpolate between them."""

from dataclasses import dataclass, replace

import numpy as np

from .. import limits
from ..checks import check_activation, check_int, check_ints, feature_map, label, short
from ..errors import GraphError
from ..intervals import Interval, Step, ends
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["RESIZE", "Bilinear2d", "Interpolate2d", "Upsample2d", "bilinear_taps"]

#: Allowed factors of Bilinear2d along one axis.
_BILINEAR = (1, 2, 4, 8, 16)
#: Bounds, of positions times channels, that are compared at a time.
_AT_A_TIME = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Upsample2d(Unary):
    """Nearest: ``out[c, y, x] = in[c, y div factor_v, x div factor_h]``.

    factor : (vertical, horizontal), at least 1.
    """

    factor: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bilinear2d(Unary):
    """Linear interpolation between the centres of positions along both axes (half-pixel centres).

    Along an axis with factor f, output position y lies at ``(2*y + 1 - f) / (2*f)`` of the input.
    With ``p = (2*y + 1 - f) div 2*f`` and ``r = (2*y + 1 - f) mod 2*f`` it takes the position p
    ``2*f - r`` times and p + 1 ``r`` times; positions outside are the nearest one inside. The
    accumulator is the sum over both axes; its exponent is the input's less ``log2(2*f)`` of each
    axis with ``f > 1``. An axis with factor 1 stays as it is. All of it is exact; the Requantize
    that follows rounds.

    factor : (vertical, horizontal), each 1, 2, 4, 8 or 16.
    """

    factor: tuple[int, int]
    acc_bits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Interpolate2d(Unary):
    """Weighted sums of neighbours along one axis: interpolation at any positions.

    ``acc[c, y, x] = sum over t of share[y, t] * in[c, first[y] + t, x]`` along the rows; along the
    columns it is the same with both axes exchanged. ``share / 2**shift`` is what counts: the
    accumulator's exponent is the input's minus ``shift``. Shares that are no multiples of
    ``2**-shift`` were rounded by what made the node.

    axis : 0 for rows, 1 for columns.
    first : (size,), at least 0: the first neighbour of each row or column of the output. The last
        one, ``first + T - 1``, lies inside the map too.
    share : (size, T), -2**9..2**9.
    """

    axis: int
    first: np.ndarray
    share: np.ndarray
    shift: int
    acc_bits: int


def bilinear_taps(size: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Two int64 arrays (size * factor, 2): the positions that each output takes, and how often."""
    if factor == 1:
        rows = np.arange(size)
        return np.stack([rows, rows], axis=1), np.tile([1, 0], (size, 1))
    at = 2 * np.arange(size * factor) + 1 - factor
    first, rest = at // (2 * factor), at % (2 * factor)
    positions = np.clip(np.stack([first, first + 1], axis=1), 0, size - 1)
    return positions, np.stack([2 * factor - rest, rest], axis=1)


def _larger(node: Unary, source: TensorType) -> tuple[int, int, int]:
    check_activation(node, source, node.input)
    channels, *sizes = feature_map(node, source)
    sizes = [size * int(factor) for size, factor in zip(sizes, node.factor, strict=True)]
    if max(sizes) > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: output must be at most {limits.MAX_DIMENSION} high and wide, "
            f"not {tuple(sizes)}"
        )
    return (channels, *sizes)


def _check_upsample(node: Upsample2d) -> None:
    check_ints(node, "factor", 2, limits.FACTOR)


def _infer_upsample(node: Upsample2d, source: TensorType) -> TensorType:
    return replace(source, shape=_larger(node, source))


def _bound_upsample(node: Upsample2d, types, source: Interval) -> Step:
    return Step(values=source)


def _step_upsample(node: Upsample2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return x.repeat(node.factor[0], axis=2).repeat(node.factor[1], axis=3)


def _check_bilinear(node: Bilinear2d) -> None:
    check_ints(node, "factor", 2, limits.FACTOR)
    if not set(node.factor) <= set(_BILINEAR):
        raise GraphError(
            f"{label(node)}: factor must be of {', '.join(map(str, _BILINEAR))}, "
            f"not {short(node.factor)}"
        )
    check_int(node, "acc_bits", limits.ACC_BITS)


def _gain(node: Bilinear2d) -> int:
    """How many positions of the input an output adds up, each counted as often as it is taken."""
    return int(np.prod([2 * factor if factor > 1 else 1 for factor in node.factor]))


def _infer_bilinear(node: Bilinear2d, source: TensorType) -> TensorType:
    shape = _larger(node, source)
    exponent = source.exponent - (_gain(node).bit_length() - 1)
    return TensorType(
        shape=shape, bits=int(node.acc_bits), signed=True, exponent=(exponent,) * shape[0]
    )


def _bound_bilinear(node: Bilinear2d, types, source: Interval) -> Step:
    low, high = source.low * _gain(node), source.high * _gain(node)
    partial = ends(Interval(np.minimum(low, 0), np.maximum(high, 0)))
    return Step(values=Interval(low, high), partial=partial, magnitude=max(-partial[0], partial[1]))


def _step_bilinear(node: Bilinear2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    x = x.astype(dtype, copy=False)
    for axis, factor in ((2, node.factor[0]), (3, node.factor[1])):
        positions, counts = bilinear_taps(x.shape[axis], int(factor))
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        first, second = (counts[:, tap].astype(dtype).reshape(shape) for tap in (0, 1))
        x = x.take(positions[:, 0], axis) * first + x.take(positions[:, 1], axis) * second
    return x


def _check_interpolate(node: Interpolate2d) -> None:
    check_int(node, "axis", (0, 1))
    check_int(node, "shift", limits.AVG_SHIFT)
    check_int(node, "acc_bits", limits.ACC_BITS)
    size = len(node.first)
    if node.first.ndim != 1 or not 0 < size <= limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: first must be a vector of 1..{limits.MAX_DIMENSION} positions, "
            f"not of shape {node.first.shape}"
        )
    if node.share.ndim != 2 or len(node.share) != size or not node.share.size:
        raise GraphError(
            f"{label(node)}: share must have shape ({size}, T), T at least 1, "
            f"not {node.share.shape}"
        )
    low, high = limits.SHARE
    if node.share.min() < low or node.share.max() > high:
        raise GraphError(f"{label(node)}: share must be in {low}..{high}")
    if node.first.min() < 0:
        raise GraphError(f"{label(node)}: first must be at least 0, not {int(node.first.min())}")


def _infer_interpolate(node: Interpolate2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    shape = list(feature_map(node, source))
    last, size = int(node.first.max()) + node.share.shape[1], shape[1 + node.axis]
    if last > size:
        raise GraphError(
            f"{label(node)}: neighbours must end at {size}, the size of {node.input!r}, not {last}"
        )
    shape[1 + node.axis] = len(node.first)
    exponent = (source.exponent - int(node.shift),) * shape[0]
    return TensorType(shape=tuple(shape), bits=int(node.acc_bits), signed=True, exponent=exponent)


def _bound_interpolate(node: Interpolate2d, types, source: Interval) -> Step:
    signed = [part(node.share, 0).sum(axis=1) for part in (np.maximum, np.minimum)]
    pairs = np.unique(np.stack(signed, axis=1), axis=0)
    some = max(1, _AT_A_TIME // len(source.low))

    def sums(low: np.ndarray, high: np.ndarray) -> Interval:
        least, most = [], []
        for first in range(0, len(pairs), some):
            positive, negative = pairs[first : first + some].T[:, :, np.newaxis]
            least.append((positive * low + negative * high).min(axis=0))
            most.append((positive * high + negative * low).max(axis=0))
        return Interval(np.min(least, axis=0), np.max(most, axis=0))

    partial = ends(sums(np.minimum(source.low, 0), np.maximum(source.high, 0)))
    values = sums(source.low, source.high)
    return Step(values=values, partial=partial, magnitude=max(-partial[0], partial[1]))


def _step_interpolate(node: Interpolate2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    x, axis = x.astype(dtype, copy=False), 2 + int(node.axis)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    total = 0
    for tap, share in enumerate(node.share.T.astype(dtype)):
        total = total + x.take(node.first + tap, axis) * share.reshape(shape)
    return total


RESIZE = {
    Upsample2d: Operator(
        check=_check_upsample, infer=_infer_upsample, bound=_bound_upsample, step=_step_upsample
    ),
    Bilinear2d: Operator(
        check=_check_bilinear, infer=_infer_bilinear, bound=_bound_bilinear, step=_step_bilinear
    ),
    Interpolate2d: Operator(
        check=_check_interpolate,
        infer=_infer_interpolate,
        bound=_bound_interpolate,
        step=_step_interpolate,
    ),
}
