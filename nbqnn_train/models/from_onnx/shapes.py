"""Operators that move elements, choose among them or repeat them."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nbqnn_train.models.from_onnx.operator import Apply, Part, builder

__all__ = []


@builder("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(part: Part) -> nn.Module:
    after = part.result_shape()
    if part.shape(0)[:1] == after[:1] == (1,):
        return Apply(lambda value: value.reshape(len(value), *after[1:]))
    return Apply(lambda value: value.reshape(-1, *after[1:]))


@builder("Transpose")
def _transpose(part: Part) -> nn.Module:
    rank = len(part.shape(0))
    order = part.operator.integers("perm", tuple(reversed(range(rank))))
    return Apply(lambda value: value.permute(order))


@builder("Expand")
def _expand(part: Part) -> nn.Module:
    after = part.result_shape()
    return Apply(lambda value: value.expand(len(value), *after[1:]))


@builder("Concat")
def _concat(part: Part) -> nn.Module:
    axis = part.operator.integer("axis") % len(part.result_shape())
    _apart(part, axis)

    def concatenate(*values: Tensor | float) -> Tensor:
        images = max(len(value) for value in values)
        return torch.cat([value.expand(images, *value.shape[1:]) for value in values], axis)

    return part.applied(concatenate)


def _apart(part: Part, axis: int) -> None:
    if axis == 0:
        raise part.refuse("axis must leave the batch alone, not be 0")


@builder("Split")
def _split(part: Part) -> nn.Module:
    axis = part.operator.integer("axis", 0) % len(part.shape(0))
    _apart(part, axis)
    sizes = part.integers(1, "split")
    if sizes is None:
        count = len(part.operator.outputs)
        size = -(-part.shape(0)[axis] // count)
        sizes = [size] * (count - 1) + [part.shape(0)[axis] - size * (count - 1)]
    return Apply(lambda value: torch.split(value, sizes, axis))


@builder("Slice")
def _slice(part: Part) -> nn.Module:
    rank = len(part.shape(0))
    starts, ends = part.integers(1, "starts"), part.integers(2, "ends")
    axes = part.integers(3, "axes") or list(range(len(starts)))
    steps = part.integers(4, "") or [1] * len(starts)
    index, backwards = [slice(None)] * rank, []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = part.shape(0)[axis % rank]
        taken = range(size)[slice(start, end, step)]
        if taken == range(size):
            continue
        _apart(part, axis % rank)
        if step < 0:
            backwards.append(axis % rank)
            taken = taken[::-1]
        index[axis % rank] = slice(taken.start, taken.stop, taken.step)
    chosen = tuple(index)
    return Apply(lambda value: value[chosen].flip(backwards) if backwards else value[chosen])


@builder("Gather")
def _gather(part: Part) -> nn.Module:
    rank = len(part.shape(0))
    axis = part.operator.integer("axis", 0) % rank
    _apart(part, axis)
    indices = part.constant(1) % part.shape(0)[axis]
    if indices.ndim == 0:
        return Apply(lambda value: value.select(axis, int(indices)))
    if indices.ndim != 1:
        raise part.refuse(f"indices must be a number or a list, not of shape {indices.shape}")
    if len(indices) and np.array_equal(indices, np.arange(indices[0], indices[-1] + 1)):
        start, end = int(indices[0]), int(indices[-1]) + 1
        return Apply(lambda value: value.narrow(axis, start, end - start))
    chosen = torch.from_numpy(indices.astype(np.int64))
    return Apply(lambda value, chosen: value.index_select(axis, chosen), {1: chosen})


@builder("DepthToSpace")
def _depth_to_space(part: Part) -> nn.Module:
    block = part.operator.integer("blocksize")
    if part.operator.text("mode", "DCR") == "CRD":
        return nn.PixelShuffle(block)
    channels, height, width = part.shape(0)[1:]
    left = channels // block**2

    def spread(value: Tensor) -> Tensor:
        parts = value.reshape(-1, block, block, left, height, width)
        return parts.permute(0, 3, 4, 1, 5, 2).reshape(-1, left, height * block, width * block)

    return Apply(spread)


@builder("SpaceToDepth")
def _space_to_depth(part: Part) -> nn.Module:
    block = part.operator.integer("blocksize")
    channels, height, width = part.shape(0)[1:]
    rows, columns = height // block, width // block

    def gather(value: Tensor) -> Tensor:
        parts = value.reshape(-1, channels, rows, block, columns, block)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(-1, channels * block**2, rows, columns)

    return Apply(gather)


#: ONNX's mode and how many sizes change -> PyTorch's.
_RESIZED = {("LINEAR", 2): "bilinear", ("LINEAR", 1): "linear", ("CUBIC", 2): "bicubic"}


@builder("Resize", "Upsample")
def _resize(part: Part) -> nn.Module:
    before, after = part.shape(0), part.result_shape()
    if before[:2] != after[:2] or len(before) not in (3, 4):
        raise part.refuse(f"it must change height and width, not lead from {before} to {after}")
    size = after[2:]
    mode = part.operator.text("mode", "nearest")
    place = part.operator.text("coordinate_transformation_mode", "half_pixel")
    if mode == "NEAREST":
        return Apply(lambda value: functional.interpolate(value, size))
    if (mode, len(size)) not in _RESIZED:
        raise part.refuse(f"mode must be nearest, linear, or cubic for maps, not {mode.lower()}")
    kind, corners = _RESIZED[mode, len(size)], place == "ALIGN_CORNERS"
    return Apply(
        lambda value: functional.interpolate(value, size, mode=kind, align_corners=corners)
    )


@builder("Tile")
def _tile(part: Part) -> nn.Module:
    repeats = [int(count) for count in part.constant(1)]
    if math.prod(repeats[:1]) != 1:
        raise part.refuse("the batch must not be repeated")
    return Apply(lambda value: value.repeat(*repeats))
