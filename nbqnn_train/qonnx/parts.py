"""Operators that take parts of tensors or enlarge them: slices, splits, gathers, resizes."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor, prod

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.nodes import Node
from nbqnn_train.graph.operators import (
    Bilinear2d,
    Channels,
    DepthToSpace,
    Flip2d,
    Slice2d,
    SpaceToDepth,
    Upsample2d,
)

from .building import settled
from .functions import looked_up
from .lines import Chain
from .model import Operator
from .reader import Reader
from .values import Leaf, Value

__all__ = ["depth_to_space", "gather", "moved", "resize", "slice_", "space_to_depth", "split"]


def moved(reader: Reader, leaf: Leaf, node: Node, index: list[int] | None = None) -> Leaf:
    """``leaf`` after ``node``, which moves channels: their scales and offsets move with them."""

    def chosen(column: tuple) -> tuple:
        return column if len(column) == 1 or index is None else tuple(column[i] for i in index)

    line = leaf.chain.line
    line = replace(line, scale=chosen(line.scale), offset=chosen(line.offset))
    name = reader.put(node)
    return Leaf(name, reader.types[name].shape, Chain(line=line))


def _channels(reader: Reader, op: Operator, leaf: Leaf, index: list[int], name: str) -> Value:
    if not index:
        raise GraphError(f"{op.what}: must leave at least one channel")
    if index == list(range(leaf.shape[0])):
        return leaf
    node = Channels(name=reader.free(name), input=leaf.source, index=index)
    return moved(reader, leaf, node, index)


def _numbers(reader: Reader, op: Operator, number: int, name: str) -> list[int] | None:
    """Integers of input ``number``, or in older versions of an attribute."""
    if reader.given(op, number):
        return [int(v) for v in reader.constant(op, number).reshape(-1)]
    return list(op.integers(name)) if name in op.attributes else None


def slice_(reader: Reader, op: Operator) -> Value:
    """Channels, rows and columns from one to another."""
    value = reader.varying(op)
    shape = reader.model_shape(op.inputs[0], value)
    starts, ends = _numbers(reader, op, 1, "starts"), _numbers(reader, op, 2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        raise GraphError(f"{op.what}: starts and ends must be given alike")
    axes = _numbers(reader, op, 3, "axes") or list(range(len(starts)))
    steps = _numbers(reader, op, 4, "steps") or [1] * len(starts)
    spans = {}
    for axis, *ends_ in zip(axes, starts, ends, steps, strict=True):
        spans[axis % len(shape)] = range(shape[axis % len(shape)])[slice(*ends_)]
    if any(len(span) == 0 for span in spans.values()) or len(shape) not in (2, 4):
        raise GraphError(f"{op.what}: must leave something of {list(shape)}")
    if spans.pop(0, range(1)) != range(1):
        raise GraphError(f"{op.what}: must leave the images as they are")
    leaf = settled(reader, op.what, value, op.inputs[0])
    if len(shape) - 1 != len(leaf.shape):
        raise GraphError(f"{op.what}: must be of maps or vectors, not of {list(shape)}")
    leaf = _channels(reader, op, leaf, list(spans.pop(1, range(leaf.shape[0]))), op.outputs[0])
    if not spans:
        return leaf
    rows, columns = (spans.get(axis, range(shape[axis])) for axis in (2, 3))
    leaf, rows, columns = _turned(reader, op, leaf, rows, columns)
    if (rows, columns) == (range(shape[2]), range(shape[3])):
        return leaf
    node = Slice2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        start=(rows.start, columns.start),
        stride=(rows.step, columns.step),
        size=(len(rows), len(columns)),
    )
    return moved(reader, leaf, node)


def _turned(
    reader: Reader, op: Operator, leaf: Leaf, rows: range, columns: range
) -> tuple[Leaf, range, range]:
    """Mirrors the map if rows or columns go backwards. Returns it and the slices to take."""
    turned = rows.step < 0, columns.step < 0
    if not any(turned):
        return leaf, rows, columns
    node = Flip2d(
        name=reader.free(f"{op.outputs[0]}_turned"),
        input=leaf.source,
        vertical=turned[0],
        horizontal=turned[1],
    )
    rows, columns = (
        range(size - 1 - span.start, size - 1 - span.stop, -span.step) if back else span
        for span, size, back in zip((rows, columns), leaf.shape[1:], turned, strict=True)
    )
    return moved(reader, leaf, node), rows, columns


def split(reader: Reader, op: Operator) -> Value:
    """Parts of the channels, one after the other."""
    value = reader.varying(op)
    rank = len(reader.model_shape(op.inputs[0], value))
    axis = op.integer("axis", 0)
    if (axis + rank if axis < 0 else axis) != 1:
        raise GraphError(f"{op.what}: axis must be 1, not {axis}")
    leaf = settled(reader, op.what, value, op.inputs[0])
    count, total = len(op.outputs), leaf.shape[0]
    sizes = _numbers(reader, op, 1, "split")
    if sizes is None:
        each = -(-total // count)
        sizes = [each] * (count - 1) + [total - each * (count - 1)]
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != total:
        raise GraphError(f"{op.what}: sizes must add up to the {total} channels, not {sizes}")
    parts, start = [], 0
    for name, size in zip(op.outputs, sizes, strict=True):
        parts.append(_channels(reader, op, leaf, list(range(start, start + size)), name))
        start += size
    reader.values.update(zip(op.outputs, parts, strict=True))
    return parts[0]


def gather(reader: Reader, op: Operator) -> Value:
    """Chosen channels, in any order; or entries of a constant vector, chosen by an activation."""
    if isinstance(reader.value(op, 0), np.ndarray) and reader.constant(op, 0).ndim == 1:
        return looked_up(reader, op)
    value = reader.varying(op)
    rank = len(reader.model_shape(op.inputs[0], value))
    axis = op.integer("axis", 0)
    index = reader.constant(op, 1)
    if (axis + rank if axis < 0 else axis) != 1 or index.ndim != 1:
        raise GraphError(f"{op.what}: must choose channels (axis 1) by a list of numbers")
    leaf = settled(reader, op.what, value, op.inputs[0])
    channels = leaf.shape[0]
    if index.min(initial=0) < -channels or index.max(initial=0) >= channels:
        raise GraphError(f"{op.what}: numbers must be below the {channels} channels")
    return _channels(reader, op, leaf, [int(i) % channels for i in index], op.outputs[0])


def resize(reader: Reader, op: Operator) -> Value:
    """Positions repeated a whole number of times, or interpolated between their centres."""
    value = reader.varying(op)
    shape = reader.model_shape(op.inputs[0], value)
    places = op.text("coordinate_transformation_mode", "half_pixel").lower()
    mode = op.text("mode", "nearest")
    linear = mode == "LINEAR" and places in ("half_pixel", "pytorch_half_pixel")
    if not (linear or mode == "NEAREST") or len(shape) != 4:
        raise _unlike(op)
    scales = _scales(reader, op, shape)
    whole = scales is not None and len(scales) == 4 and np.all(scales == np.round(scales))
    if not whole or (scales[:2] != 1).any() or scales.min() < 1:
        raise GraphError(f"{op.what}: scales must be 1, 1 and two whole numbers, not {scales}")
    leaf = settled(reader, op.what, value, op.inputs[0])
    factor = (int(scales[2]), int(scales[3]))
    if not linear and reader.model.opset >= 11:
        rounds = op.text("nearest_mode", "round_prefer_floor").lower()
        if not all(_repeats(places, rounds, *axis) for axis in zip(shape[2:], factor, strict=True)):
            raise _unlike(op)
    if linear:
        return _interpolated(reader, op, leaf, factor)
    node = Upsample2d(name=reader.free(op.outputs[0]), input=leaf.source, factor=factor)
    return moved(reader, leaf, node)


def _unlike(op: Operator) -> GraphError:
    return GraphError(
        f"{op.what}: must repeat positions of maps (mode nearest), or interpolate between "
        "their centres (mode linear, coordinates half_pixel)"
    )


def _half_pixel(x: int, size: int, by: int) -> Fraction:
    return Fraction(2 * x + 1, 2 * by) - Fraction(1, 2)


#: The position in the input for position x of the output, both of an axis with ``size`` positions
#: in the input, that is enlarged ``by`` so much.
_PLACES = {
    "asymmetric": lambda x, size, by: Fraction(x, by),
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel,  # the same for whole factors
    "pytorch_half_pixel": _half_pixel,  # one position alone is at 0 in both
    "align_corners": lambda x, size, by: Fraction(x * (size - 1), max(size * by - 1, 1)),
}
_ROUNDED = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda place: ceil(place - Fraction(1, 2)),
    "round_prefer_ceil": lambda place: floor(place + Fraction(1, 2)),
}


def _repeats(places: str, rounds: str, size: int, by: int) -> bool:
    """Whether each of ``size`` positions is repeated ``by`` times, in ONNX's own arithmetic."""
    if places not in _PLACES or rounds not in _ROUNDED:
        return False
    taken = (_ROUNDED[rounds](_PLACES[places](x, size, by)) for x in range(size * by))
    return all(min(max(at, 0), size - 1) == x // by for x, at in enumerate(taken))


def _interpolated(reader: Reader, op: Operator, leaf: Leaf, factor: tuple[int, int]) -> Leaf:
    node = Bilinear2d(
        name=reader.free(op.outputs[0]), input=leaf.source, factor=factor, acc_bits=ACC_BITS[1]
    )
    # An axis that is enlarged adds 2 * factor numbers up.
    gain = prod(2 * each for each in factor if each > 1)
    line = leaf.chain.line
    line = replace(line, scale=tuple(scale / gain for scale in line.scale))
    return moved(reader, replace(leaf, chain=Chain(line=line)), node)


def _scales(reader: Reader, op: Operator, shape: tuple[int, ...]) -> np.ndarray | None:
    if op.kind == "Upsample" and "scales" in op.attributes:
        return np.array(op.attributes["scales"], dtype=np.float64)
    for number in (1, 2) if len(op.inputs) > 2 else (1,):
        if reader.given(op, number):
            scales = reader.constant(op, number).astype(np.float64).reshape(-1)
            if scales.size == 4:
                return scales
    if reader.given(op, 3):
        return reader.constant(op, 3).astype(np.float64).reshape(-1) / np.array(shape)
    return None


def depth_to_space(reader: Reader, op: Operator) -> Value:
    """Channels become blocks of pixels. In mode DCR the place in a block comes first."""
    leaf, block = _blocks(reader, op)
    channels = leaf.shape[0]
    if channels % block**2:
        raise GraphError(f"{op.what}: blocksize must divide {channels} channels twice, not {block}")
    if op.text("mode", "DCR") == "DCR":
        order = np.arange(channels).reshape(block**2, -1).T.reshape(-1)
        leaf = _channels(reader, op, leaf, order.tolist(), f"{op.outputs[0]}_order")
    name = reader.free(op.outputs[0])
    return moved(reader, leaf, DepthToSpace(name=name, input=leaf.source, block=block))


def space_to_depth(reader: Reader, op: Operator) -> Value:
    """Blocks of pixels become channels, the place in a block first."""
    leaf, block = _blocks(reader, op)
    channels, height, width = leaf.shape
    if height % block or width % block:
        raise GraphError(f"{op.what}: blocksize must divide {height} x {width}, not be {block}")
    name = reader.free(f"{op.outputs[0]}_deep")
    leaf = moved(reader, leaf, SpaceToDepth(name=name, input=leaf.source, block=block))
    order = np.arange(channels * block**2).reshape(channels, -1).T.reshape(-1)
    return _channels(reader, op, leaf, order.tolist(), op.outputs[0])


def _blocks(reader: Reader, op: Operator) -> tuple[Leaf, int]:
    leaf = settled(reader, op.what, reader.varying(op), op.inputs[0])
    line, block = leaf.chain.line, op.integer("blocksize")
    if len(leaf.shape) != 3 or len(line.scale) > 1 or len(line.offset) > 1:
        raise GraphError(f"{op.what}: must be of maps with one scale for all channels")
    if block < 1:
        raise GraphError(f"{op.what}: blocksize must be from 1, not {block}")
    return leaf, block
