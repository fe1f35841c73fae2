"""Nodes that only change the order of codes, leave some out, or repeat some."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .. import limits
from ..checks import check_activation, check_int, check_ints, feature_map, label, short
from ..errors import GraphError
from ..intervals import Interval, Step
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["ORDER", "Channels", "DepthToSpace", "Flip2d", "Slice2d", "SpaceToDepth", "Unflatten"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels(Unary):
    """``out[c] = in[index[c]]``: channels (or features) in any order.

    Channels can be left out or repeated. Slices, chunks, splits and channel shuffles become this.

    index : (C',), each 0 ... C - 1.
    """

    index: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Unflatten(Unary):
    """``(F,)`` to ``shape`` (C, H, W) with ``C * H * W = F``, in row-major order."""

    shape: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthToSpace(Unary):
    """Pixel shuffle: ``out[c, y*b + i, x*b + j] = in[(c*b + i)*b + j, y, x]``, ``b = block``."""

    block: int


@dataclass(frozen=True, kw_only=True, eq=False)
class SpaceToDepth(Unary):
    """Pixel unshuffle: ``out[(c*b + i)*b + j, y, x] = in[c, y*b + i, x*b + j]``, ``b = block``.

    The block divides height and width.
    """

    block: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Flip2d(Unary):
    """Rows in reverse order, columns, or both."""

    vertical: bool
    horizontal: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice2d(Unary):
    """``out[c, y, x] = in[c, start_v + y*stride_v, start_h + x*stride_h]``: a part of each map.

    start, stride, size : (vertical, horizontal); the last position lies inside the map.
    """

    start: tuple[int, int]
    stride: tuple[int, int]
    size: tuple[int, int]


def _check_channels(node: Channels) -> None:
    shape = node.index.shape
    if len(shape) != 1 or not 0 < shape[0] <= limits.MAX_FEATURES:
        raise GraphError(
            f"{label(node)}: index must be a vector of 1..{limits.MAX_FEATURES} channels, "
            f"not of shape {shape}"
        )


def _infer_channels(node: Channels, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    bad = (node.index < 0) | (node.index >= source.shape[0])
    if bad.any():
        at = int(np.argmax(bad))
        raise GraphError(
            f"{label(node)}: index must be in 0..{source.shape[0] - 1}, the channels of "
            f"{node.input!r}, not {int(node.index[at])} (position {at})"
        )
    count = node.index.size
    if len(source.shape) == 3 and count > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: index must hold at most {limits.MAX_DIMENSION} channels, not {count}"
        )
    return replace(source, shape=(count, *source.shape[1:]))


def _bound_channels(node: Channels, types: dict[str, TensorType], source: Interval) -> Step:
    if source.low.size == 1:
        return Step(values=source)
    return Step(values=Interval(source.low[node.index], source.high[node.index]))


def _step_channels(node: Channels, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return x[:, node.index]


def _check_unflatten(node: Unflatten) -> None:
    check_ints(node, "shape", 3, (1, limits.MAX_DIMENSION))


def _infer_unflatten(node: Unflatten, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    if source.shape != (prod(node.shape),):
        raise GraphError(
            f"{label(node)}: shape {tuple(node.shape)} takes a vector of {prod(node.shape)}, "
            f"but {node.input!r} has shape {source.shape}"
        )
    return replace(source, shape=tuple(int(size) for size in node.shape))


def _bound_unflatten(node: Unflatten, types: dict[str, TensorType], source: Interval) -> Step:
    if source.low.size == 1:
        return Step(values=source)
    rows = (node.shape[0], -1)
    low, high = source.low.reshape(rows), source.high.reshape(rows)
    return Step(values=Interval(low.min(axis=1), high.max(axis=1)))


def _step_unflatten(node: Unflatten, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return x.reshape(len(x), *node.shape)


def _check_block(node: DepthToSpace | SpaceToDepth) -> None:
    check_int(node, "block", limits.FACTOR)


def _infer_depth_to_space(node: DepthToSpace, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels, height, width = feature_map(node, source)
    area = node.block**2
    if channels % area:
        raise GraphError(
            f"{label(node)}: block must divide the channels twice, "
            f"not be {node.block} for {channels}"
        )
    if max(height, width) * node.block > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: output must be at most {limits.MAX_DIMENSION} high and wide, "
            f"not {(height * node.block, width * node.block)}"
        )
    return replace(source, shape=(channels // area, height * node.block, width * node.block))


def _bound_depth_to_space(node: DepthToSpace, types, source: Interval) -> Step:
    if source.low.size == 1:
        return Step(values=source)
    low, high = (end.reshape(-1, node.block**2) for end in (source.low, source.high))
    return Step(values=Interval(low.min(axis=1), high.max(axis=1)))


def _step_depth_to_space(node: DepthToSpace, source: TensorType, dtype, batch: int, x):
    images, channels, height, width = x.shape
    block = node.block
    parts = x.reshape(images, channels // block**2, block, block, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(
        images, channels // block**2, height * block, width * block
    )


def _infer_space_to_depth(node: SpaceToDepth, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels, height, width = feature_map(node, source)
    block = node.block
    if height % block or width % block:
        raise GraphError(
            f"{label(node)}: block must divide height and width, "
            f"not be {block} for {height} x {width}"
        )
    if channels * block**2 > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: output must have at most {limits.MAX_DIMENSION} channels, "
            f"not {channels * block**2}"
        )
    return replace(source, shape=(channels * block**2, height // block, width // block))


def _bound_space_to_depth(node: SpaceToDepth, types, source: Interval) -> Step:
    if source.low.size == 1:
        return Step(values=source)
    low, high = (np.repeat(end, node.block**2) for end in (source.low, source.high))
    return Step(values=Interval(low, high))


def _step_space_to_depth(node: SpaceToDepth, source: TensorType, dtype, batch: int, x):
    images, channels, height, width = x.shape
    block = node.block
    parts = x.reshape(images, channels, height // block, block, width // block, block)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(
        images, channels * block**2, height // block, width // block
    )


def _check_flip(node: Flip2d) -> None:
    for field in ("vertical", "horizontal"):
        if not isinstance(getattr(node, field), bool):
            raise GraphError(
                f"{label(node)}: {field} must be a bool, not {short(getattr(node, field))}"
            )


def _infer_map(node: Unary, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    feature_map(node, source)
    return source


def _bound_same(node: Unary, types: dict[str, TensorType], source: Interval) -> Step:
    return Step(values=source)


def _step_flip(node: Flip2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    return x[:, :, :: -1 if node.vertical else 1, :: -1 if node.horizontal else 1]


def _check_slice(node: Slice2d) -> None:
    check_ints(node, "start", 2, (0, limits.MAX_DIMENSION))
    check_ints(node, "stride", 2, limits.STRIDE)
    check_ints(node, "size", 2, (1, limits.MAX_DIMENSION))


def _infer_slice(node: Slice2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels, *sizes = feature_map(node, source)
    for which, size, start, stride, count in zip(
        ("row", "column"), sizes, node.start, node.stride, node.size, strict=True
    ):
        last = start + (count - 1) * stride
        if last >= size:
            raise GraphError(
                f"{label(node)}: last {which} must be in 0..{size - 1} of {node.input!r}, "
                f"not {last}"
            )
    return replace(source, shape=(channels, *(int(size) for size in node.size)))


def _step_slice(node: Slice2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    rows, columns = (
        slice(start, start + (size - 1) * stride + 1, stride)
        for start, stride, size in zip(node.start, node.stride, node.size, strict=True)
    )
    return x[:, :, rows, columns]


ORDER = {
    Channels: Operator(
        check=_check_channels, infer=_infer_channels, bound=_bound_channels, step=_step_channels
    ),
    Unflatten: Operator(
        check=_check_unflatten,
        infer=_infer_unflatten,
        bound=_bound_unflatten,
        step=_step_unflatten,
    ),
    DepthToSpace: Operator(
        check=_check_block,
        infer=_infer_depth_to_space,
        bound=_bound_depth_to_space,
        step=_step_depth_to_space,
    ),
    SpaceToDepth: Operator(
        check=_check_block,
        infer=_infer_space_to_depth,
        bound=_bound_space_to_depth,
        step=_step_space_to_depth,
    ),
    Flip2d: Operator(check=_check_flip, infer=_infer_map, bound=_bound_same, step=_step_flip),
    Slice2d: Operator(check=_check_slice, infer=_infer_slice, bound=_bound_same, step=_step_slice),
}
