"""Operators that pool, pad and join."""

from fractions import Fraction
from math import lcm, prod

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import window_output
from nbqnn_train.graph.limits import ACC_BITS, AVG_MULTIPLIER
from nbqnn_train.graph.nodes import AvgPool2d
from nbqnn_train.graph.operators import Pad2d, RegionAverage2d

from .building import activation, at_once, settled
from .lines import Chain, Line
from .model import Operator
from .reader import Reader, fractions
from .shapes import flat
from .values import Join, Leaf, Pad, Pool, Value
from .windows import Window, window_of

__all__ = [
    "average_pool",
    "concat",
    "global_average_pool",
    "global_max_pool",
    "maps",
    "max_pool",
    "pad",
    "reduced",
]


_PADDING = {"CONSTANT": "constant", "EDGE": "replicate", "REFLECT": "reflect"}


def maps(op: Operator, value: Value) -> tuple[int, int, int]:
    """Shape (C, H, W) of ``value``, which must be a map."""
    if len(value.shape) != 3:
        raise GraphError(f"{op.what}: input must be maps (N, C, H, W), not (N, {value.shape[0]})")
    return value.shape


def _dimensions(reader: Reader, op: Operator, value: Value) -> int:
    return len(reader.model_shape(op.inputs[0], value)) - 2


def max_pool(reader: Reader, op: Operator) -> Value:
    """The largest in each window; it may stand before a Quant."""
    value = reader.varying(op)
    size = maps(op, value)[1:]
    window = window_of(op, size, op.integers("kernel_shape"), _dimensions(reader, op, value))
    if window.dilation != (1, 1):
        raise GraphError(f"{op.what}: dilations must be 1, not {window.dilation}")
    return _pooled(reader, op, value, window.kernel, window.stride, window.padding)


def _pooled(reader: Reader, op: Operator, value: Value, kernel, stride, padding) -> Value:
    if isinstance(value, Pad):
        if _never_below_zero(reader, value.inner):
            padding = tuple(a + b for a, b in zip(padding, value.padding, strict=True))
            value = value.inner
        else:
            value = settled(reader, op.what, value, op.inputs[0])
    size = value.shape[1:]
    sides = ((padding[0], padding[2]), (padding[1], padding[3]))
    output = [
        window_output(length, kernel[i], stride[i], sides[i]) for i, length in enumerate(size)
    ]
    if min(output) < 1:
        raise GraphError(f"{op.what}: kernel {kernel} must fit into the padded input of {size}")
    if any(max(side) >= length for side, length in zip(sides, kernel, strict=True)):
        raise GraphError(f"{op.what}: padding {padding} must be smaller than the kernel {kernel}")
    window = {"kernel": tuple(kernel), "stride": tuple(stride), "padding": tuple(padding)}
    return at_once(reader, Pool(value, window, (value.shape[0], *output)), op.outputs[0])


def _never_below_zero(reader: Reader, value: Value) -> bool:
    """Whether ``value`` is never negative, so that padding with zeros cannot change a maximum."""
    if not isinstance(value, Leaf):
        return False
    line = value.chain.line
    if all(low is not None and low >= 0 for low in line.low):
        return True
    codes = not value.real and not value.chain.roundings
    positive = min(line.scale) >= 0 and min(line.offset) >= 0
    return codes and positive and int(reader.intervals[value.source].low.min()) >= 0


def global_max_pool(reader: Reader, op: Operator) -> Value:
    """The largest of the whole map."""
    value = reader.varying(op)
    return _pooled(reader, op, value, maps(op, value)[1:], (1, 1), (0, 0, 0, 0))


def average_pool(reader: Reader, op: Operator) -> Value:
    """Sums times one over the size of the window."""
    value = reader.varying(op)
    size = maps(op, value)[1:]
    window = window_of(op, size, op.integers("kernel_shape"), _dimensions(reader, op, value))
    if window.dilation != (1, 1):
        raise GraphError(f"{op.what}: dilations must be 1, not {window.dilation}")
    counted = op.integer("count_include_pad", 0)
    if window.beyond and counted:
        raise GraphError(
            f"{op.what}: ceil_mode must not add windows where padding is counted: executors "
            "disagree on their sizes"
        )
    if any(window.padding) and not counted:
        return _uncounted(reader, op, value, window)
    return _mean(reader, op, value, window.kernel, window.stride, window.padding)


def _uncounted(reader: Reader, op: Operator, value: Value, window: Window) -> Leaf:
    """Averages whose windows end with the map: sums times a common multiple of their sizes, divided
    by each one's size."""
    leaf = settled(reader, op.what, value, op.inputs[0])
    spans = []
    for axis, length in enumerate(leaf.shape[1:]):
        kernel, stride = window.kernel[axis], window.stride[axis]
        before, behind = window.padding[axis], window.padding[axis + 2]
        count = max(0, window_output(length, kernel, stride, (before, behind)))
        starts = np.arange(count) * stride - before
        spans.append(np.stack([starts, starts + kernel], axis=1).clip(0, length))
    sizes = np.multiply.outer(*(np.diff(each, axis=1)[:, 0] for each in spans))
    if not sizes.size or not sizes.min():
        raise GraphError(f"{op.what}: each window must hold a position of the map")
    common = lcm(*np.unique(sizes).tolist())
    factors = common // sizes
    if factors.max() > AVG_MULTIPLIER[1]:
        raise GraphError(
            f"{op.what}: sizes of windows whose padding is not counted must have a common multiple "
            f"of at most {AVG_MULTIPLIER[1]} times the smallest, not {common}"
        )
    node = RegionAverage2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        rows=spans[0],
        columns=spans[1],
        multiplier=factors,
        shift=0,
        acc_bits=ACC_BITS[1],
    )
    name = reader.put(node)
    line = leaf.chain.line
    line = Line(scale=tuple(scale / common for scale in line.scale), offset=line.offset)
    return Leaf(name, reader.types[name].shape, Chain(line=line))


def global_average_pool(reader: Reader, op: Operator) -> Value:
    """The average of the whole map."""
    value = reader.varying(op)
    return _mean(reader, op, value, maps(op, value)[1:], (1, 1), (0, 0, 0, 0))


def _mean(reader, op, value: Value, kernel, stride, padding, divide: bool = True) -> Leaf:
    if isinstance(value, Pad):
        padding = tuple(a + b for a, b in zip(padding, value.padding, strict=True))
        value = value.inner
    leaf = settled(reader, op.what, value, op.inputs[0])
    if any(padding) and leaf.chain.line.offset != (0,):
        leaf = activation(reader, op.what, value, op.inputs[0])
    node = AvgPool2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        kernel=tuple(kernel),
        stride=tuple(stride),
        padding=tuple(padding),
        multiplier=1,
        shift=0,
        acc_bits=ACC_BITS[1],
    )
    name = reader.put(node)
    count = Fraction(prod(kernel))
    line = leaf.chain.line
    if not divide:
        line = Line(scale=line.scale, offset=tuple(o * count for o in line.offset))
        return Leaf(name, reader.types[name].shape, Chain(line=line))
    line = Line(scale=tuple(s / count for s in line.scale), offset=line.offset)
    return Leaf(name, reader.types[name].shape, Chain(line=line))


def reduced(kind: str):
    """The reading function of ReduceMean, ReduceSum or ReduceMax over rows, columns or both."""

    def handler(reader: Reader, op: Operator) -> Value:
        value = reader.varying(op)
        rank = len(reader.model_shape(op.inputs[0], value))
        if reader.given(op, 1):
            axes = [int(axis) for axis in reader.constant(op, 1).reshape(-1)]
        else:
            axes = list(op.integers("axes", ()))
        if not axes and op.integer("noop_with_empty_axes", 0):
            return value
        axes = {axis + rank if axis < 0 else axis for axis in axes} or set(range(rank))
        spatial = set(range(2, rank))
        if len(value.shape) != 3 or not axes or not axes <= spatial:
            raise GraphError(
                f"{op.what}: axes must be those of height and width, not {sorted(axes)}"
            )
        _, height, width = value.shape
        both = axes == spatial
        kernel = (height if both or 2 in axes else 1, width if both or 3 in axes else 1)
        none = (0, 0, 0, 0)
        if kind == "max":
            result = _pooled(reader, op, value, kernel, (1, 1), none)
        else:
            result = _mean(reader, op, value, kernel, (1, 1), none, divide=kind == "mean")
        kept = op.integer("keepdims", 1)
        return result if kept or not both else flat(reader, op.outputs[0], result)

    return handler


def concat(reader: Reader, op: Operator) -> Value:
    """Parts one after the other along the channels."""
    parts = tuple(reader.varying(op, number) for number in range(len(op.inputs)))
    rank = len(reader.model_shape(op.inputs[0], parts[0]))
    axis = op.integer("axis", 1)
    if (axis + rank if axis < 0 else axis) != 1:
        raise GraphError(f"{op.what}: axis must be 1, not {axis}")
    if len({(len(part.shape), part.shape[1:]) for part in parts}) != 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise GraphError(f"{op.what}: parts must be equally high and wide, not {shapes}")
    return parts[0] if len(parts) == 1 else at_once(reader, Join(parts), op.outputs[0])


def pad(reader: Reader, op: Operator) -> Value:
    """Positions around maps: a number, the border or the mirror image. How many is an input, or
    before opset 11 an attribute."""
    value = reader.varying(op)
    rank = len(reader.model_shape(op.inputs[0], value))
    mode = _PADDING.get(op.text("mode", "constant"))
    if mode is None:
        shown = op.text("mode", "").lower()
        raise GraphError(f"{op.what}: mode must be constant, edge or reflect, not {shown}")
    if reader.given(op, 1):
        pads = [int(v) for v in reader.constant(op, 1).reshape(-1)]
    else:
        pads = list(op.integers("pads", op.integers("paddings", ())))
    fill = Fraction(0)
    if reader.given(op, 2):
        fill = fractions(reader.constant(op, 2))[0]
    elif "value" in op.attributes:
        fill = Fraction(op.number("value", 0.0))
    if reader.given(op, 3):
        pads = _spread_over_axes(reader.constant(op, 3), pads, rank)
    if len(pads) != 2 * rank or any(p < 0 for p in pads):
        raise GraphError(f"{op.what}: pads must be {2 * rank} numbers from 0, not {pads}")
    if not any(pads):
        return value
    before, after = pads[:rank], pads[rank:]
    if len(value.shape) != 3 or rank not in (3, 4) or any(before[:2]) or any(after[:2]):
        raise GraphError(f"{op.what}: only height and width of maps may be padded, not {pads}")
    rows = (before[2], after[2]) if rank == 4 else (0, 0)
    columns = (before[-1], after[-1])
    padding = (rows[0], columns[0], rows[1], columns[1])
    if mode == "constant" and fill == 0:
        return Pad(value, padding)
    return _bordered(reader, op, value, padding, mode, fill)


def _bordered(
    reader: Reader, op: Operator, value: Value, padding: tuple, mode: str, fill: Fraction
) -> Leaf:
    """Padding with codes: those of the map, or of the number ``fill``."""
    leaf = settled(reader, op.what, value, op.inputs[0])
    line, code = leaf.chain.line, 0
    if mode == "constant":
        codes = {(fill - o) / s for s in line.scale for o in line.offset}
        kind = reader.types[leaf.source]
        code = codes.pop()
        if codes or code.denominator != 1 or not kind.low <= code <= kind.high:
            raise GraphError(
                f"{op.what}: must pad with a value that its input can have, not {float(fill):g}"
            )
    node = Pad2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        padding=padding,
        mode=mode,
        value=int(code),
    )
    name = reader.put(node)
    return Leaf(name, reader.types[name].shape, Chain(line=line))


def _spread_over_axes(axes: np.ndarray, pads: list[int], rank: int) -> list[int]:
    places = [int(axis) % rank for axis in axes.reshape(-1)]
    result = [0] * (2 * rank)
    for i, place in enumerate(places[: len(pads) // 2]):
        result[place], result[place + rank] = pads[i], pads[i + len(places)]
    return result
