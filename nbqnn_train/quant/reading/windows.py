"""Reads pooling."""

import math

from torch import fx

from nbqnn_train.quant.reading.arithmetic import scaled_by
from nbqnn_train.quant.reading.limits import extreme
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.remedies import unsupported_operator
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []

#: Most rows and columns of a block of pixels that the channels of a position become.
_MOST_BLOCK = 32


def _two(numbers, flat: bool, other: int) -> tuple[int, int]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    if flat:
        return other, numbers[0]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _window(flat: bool, kernel_size, stride, padding) -> tuple:
    kernel = _two(kernel_size, flat, 1)
    stride = kernel if stride in (None, []) else _two(stride, flat, 1)
    return kernel, stride, _two(padding, flat, 0)


def _grows(size: int, kernel: int, stride: int, padding: int) -> bool:
    """Whether rounding up gives one window more than rounding down."""
    room = size + 2 * padding - kernel
    return room % stride != 0 and (room // stride + 1) * stride < size + padding


def _emit(reader: Reader, node: fx.Node, kind: str, value: Value, **settings) -> Value:
    base = tuple(_first(node.meta["val"]).shape[1:])
    return reader.emit(node, kind, (value.name,), canonical(base), base=base, **settings)


def _first(value):
    return value[0] if isinstance(value, (tuple, list)) else value


@rule("max_pool2d", "max_pool1d", "max_pool2d_with_indices", "max_pool1d_with_indices")
def _max_pool(
    reader: Reader, node: fx.Node, operand, kernel_size, stride, padding, dilation, ceil_mode
) -> Value:
    value = reader.map(reader.value(operand))
    flat = len(value.base) == 2
    if _two(dilation, flat, 1) != (1, 1):
        raise Unsupported("max pooling with dilation", "train without dilation")
    kernel, stride, padding = _window(flat, kernel_size, stride, padding)
    return _emit(
        reader,
        node,
        "max_pool",
        value,
        kernel=kernel,
        stride=stride,
        padding=padding * 2,
        ceil=bool(ceil_mode),
    )


@rule("avg_pool2d", "avg_pool1d")
def _avg_pool(
    reader: Reader,
    node: fx.Node,
    operand,
    kernel_size,
    stride,
    padding,
    ceil_mode,
    count_include_pad,
    divisor_override=None,
) -> Value:
    value = reader.map(reader.value(operand))
    kernel, stride, padding = _window(len(value.base) == 2, kernel_size, stride, padding)
    size = reader.shape(value)[1:]
    grows = ceil_mode and any(map(_grows, size, kernel, stride, padding))
    own = divisor_override not in (None, math.prod(kernel))
    if grows or own or (any(padding) and not count_include_pad):
        return _emit(
            reader,
            node,
            "region_average",
            value,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil=bool(ceil_mode),
            count_pad=bool(count_include_pad),
            divisor=divisor_override,
        )
    return _emit(reader, node, "avg_pool", value, kernel=kernel, stride=stride, padding=padding * 2)


@rule("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool1d")
def _adaptive_avg_pool(reader: Reader, node: fx.Node, operand, output_size) -> Value:
    return _adaptive(reader, node, operand, "avg_pool", output_size)


@rule("adaptive_max_pool2d", "adaptive_max_pool1d")
def _adaptive_max_pool(reader: Reader, node: fx.Node, operand, output_size) -> Value:
    return _adaptive(reader, node, operand, "max_pool", output_size)


def _adaptive(reader: Reader, node: fx.Node, operand, kind: str, output_size) -> Value:
    value = reader.map(reader.value(operand))
    size = _two(output_size, len(value.base) == 2, 1)
    return _emit(reader, node, kind, value, size=size)


@rule("mean")
def _mean(reader: Reader, node: fx.Node, operand, dim=None, keepdim=False, **_) -> Value:
    return _over_positions(reader, node, operand, "avg_pool", dim, "mean")


@rule("sum")
def _sum(reader: Reader, node: fx.Node, operand, dim=None, keepdim=False, **_) -> Value:
    mean = _over_positions(reader, node, operand, "avg_pool", dim, "sum")
    count = reader.value(operand).size // mean.size
    return scaled_by(reader, node, mean, count)


@rule("amax")
def _amax(reader: Reader, node: fx.Node, operand, dim=(), keepdim=False) -> Value:
    return _over_positions(reader, node, operand, "max_pool", dim, "largest value")


@rule("max", "min")
def _max(reader: Reader, node: fx.Node, operand, other=None, dim=None, keepdim=False) -> Value:
    kind = node.target.overloadpacket.__name__
    if other is not None:
        return extreme(reader, node, operand, other)
    if dim is None:
        raise unsupported_operator(kind)
    if kind == "min":
        raise Unsupported(f"the smallest value over dimension {dim}", "-(-x).amax(dim) is the same")
    return _over_positions(reader, node, operand, "max_pool", dim, "largest value")


def _over_positions(reader: Reader, node: fx.Node, operand, kind: str, dim, what: str) -> Value:
    value = reader.value(operand)
    rank = len(value.shape) + 1
    dims = sorted({d % rank for d in ([dim] if isinstance(dim, int) else dim or range(rank))})
    if any(d < 1 for d in dims):
        raise Unsupported(f"the {what} over the batch", "keep images apart", "shape")
    kept = tuple(_first(node.meta["val"]).shape[1:])
    channels_last = value.order == (*range(1, len(value.base)), 0) and not value.steps
    if channels_last and len(value.base) == 3:
        value, dims = Value(value.name, value.base), [d + 1 for d in dims]
    if len(value.base) == 3 and value.plain and value.base != reader.shape(value):
        # A flattened and restored map.
        value = reader.map(value)
    shape = reader.shape(value)
    if value.plain and len(shape) == 3:
        positions = _positions(value.base, shape)
        if positions is not None and all(d in positions for d in dims):
            axes = {axis for d in dims for axis in positions[d]}
            size = tuple(1 if axis in axes else None for axis in (1, 2))
            if None in size and channels_last:
                size = (None, None)
            after = (shape[0], *(1 if a in axes else shape[a] for a in (1, 2)))
            if size != (None, None):
                return reader.emit(node, kind, (value.name,), after, base=kept, size=size)
    if len(shape) == 3 and dims == [4 if channels_last and len(value.base) == 3 else 1]:
        return _over_channels(reader, node, value, kind, kept, what)
    raise Unsupported(
        f"the {what} over dimensions {dims} of {value.shape}",
        "pool positions (height and width, or the length of a series), or channels alone",
    )


def _over_channels(
    reader: Reader, node: fx.Node, value: Value, kind: str, kept: tuple[int, ...], what: str
) -> Value:
    """Channels become a block of pixels, of which the first rows are pooled."""
    value = reader.map(value)
    count, *sizes = reader.shape(value)
    block = next(b for b in range(1, count + 1) if b**2 >= count and count % b == 0)
    if block > _MOST_BLOCK:
        raise Unsupported(
            f"the {what} over {count} channels",
            f"give it channels that are a number up to {_MOST_BLOCK} times a smaller one",
        )
    name, area = value.name, block**2
    if count < area:
        index = (*range(count), *(0,) * (area - count))
        held = (area, *sizes)
        name = reader.emit(node, "channels", (name,), held, plain=False, index=index).name
    if block > 1:
        held = (1, *(block * size for size in sizes))
        name = reader.emit(node, "depth_to_space", (name,), held, plain=False, block=block).name
    window = {"kernel": (count // block, block), "stride": (block, block), "padding": (0,) * 4}
    return reader.emit(node, kind, (name,), (1, *sizes), base=kept, **window)


def _positions(base: tuple[int, ...], shape: tuple[int, ...]) -> dict[int, tuple] | None:
    """For each dimension of ``base`` (batch included) the axes of the map (C, H, W)."""
    if base == shape:
        return {2: (1,), 3: (2,)}
    if len(base) == 2 and base == (shape[0], shape[1] * shape[2]):
        return {2: (1, 2)}
    return None
