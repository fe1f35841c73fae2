"""How pooling and padding are read."""

import math

from torch import fx

from nbqnn_train.quant.reading.program import BATCH
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []


def _two(numbers, flat: bool, other: int) -> tuple[int, int]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    if flat:
        return other, numbers[0]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _window(node: fx.Node, flat: bool, kernel_size, stride, padding) -> tuple:
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
    kernel, stride, padding = _window(node, flat, kernel_size, stride, padding)
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
    kernel, stride, padding = _window(node, len(value.base) == 2, kernel_size, stride, padding)
    size = reader.shape(value)[1:]
    if divisor_override not in (None, math.prod(kernel)):
        raise Unsupported("average pooling with a divisor of its own", "divide by the window")
    if padding != (0, 0) and not count_include_pad:
        raise Unsupported(
            "average pooling with padding that is not counted", "train with count_include_pad=True"
        )
    if ceil_mode and any(map(_grows, size, kernel, stride, padding)):
        raise Unsupported(
            "average pooling with ceil_mode, whose last windows are smaller",
            "train with ceil_mode=False, or maps that the windows fill",
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
    before = reader.shape(value)[1:]
    if any(b % s for b, s in zip(before, size, strict=True)):
        raise Unsupported(
            f"adaptive pooling of {before[0]} x {before[1]} to {size[0]} x {size[1]}, with windows "
            "of different sizes",
            "pool to a size that divides the map, such as 1",
            "shape",
        )
    return _emit(reader, node, kind, value, size=size)


@rule("mean")
def _mean(reader: Reader, node: fx.Node, operand, dim=None, keepdim=False, **_) -> Value:
    return _over_positions(reader, node, operand, "avg_pool", dim, "mean")


@rule("amax")
def _amax(reader: Reader, node: fx.Node, operand, dim=(), keepdim=False) -> Value:
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
    raise Unsupported(
        f"the {what} over dimensions {dims} of {value.shape}",
        "only positions can be pooled: height and width, or the length of a series",
    )


def _positions(base: tuple[int, ...], shape: tuple[int, ...]) -> dict[int, tuple] | None:
    """For each dimension of ``base`` (the batch counted) the axes of the map (C, H, W)."""
    if base == shape:
        return {2: (1,), 3: (2,)}
    if len(base) == 2 and base == (shape[0], shape[1] * shape[2]):
        return {2: (1, 2)}
    return None


@rule("pad", "constant_pad_nd")
def _pad(reader: Reader, node: fx.Node, operand, pad, mode="constant", value=None) -> Value:
    fill = 0.0 if value is None else float(value)
    value = reader.value(operand)
    if not any(pad):
        return value
    if mode != "constant" or fill not in (0, -math.inf):
        shown = mode if mode != "constant" else f"constant {fill:g}"
        raise Unsupported(f"padding of mode {shown}", "pad with zeros, or not at all")
    value = reader.map(value)
    flat = len(value.base) == 2
    pad = [*pad, *(0,) * (8 - len(pad))]
    if any(p < 0 for p in pad):
        raise Unsupported("cropping (padding below 0)", "let the layers before give the right size")
    if flat:
        (left, right), (front, back), (top, bottom) = pad[:2], pad[2:4], (0, 0)
        rest = pad[4:]
    else:
        (left, right), (top, bottom), (front, back), rest = pad[:2], pad[2:4], pad[4:6], pad[6:]
    if any(rest):
        raise Unsupported("padding of the batch", "pad maps only")
    return _emit(
        reader,
        node,
        "select",
        value,
        stride=(1, 1),
        padding=(top, left, bottom, right),
        channels=(front, back),
        fill=fill,
    )


@rule("slice")
def _slice(reader: Reader, node: fx.Node, operand, dim, start, end, step) -> Value:
    value = reader.value(operand)
    before, after = value.shape, tuple(node.meta["val"].shape[1:])
    if step == 1 and before == after and node.meta["val"].shape[0] == BATCH:
        return value
    axis = dim % (len(before) + 1)
    whole = start in (None, 0) and (end is None or end >= before[axis - 1])
    spatial = axis == len(before) or (len(before) == 3 and axis == 2)
    if axis == 0 or not whole or not spatial or len(before) == 1:
        raise Unsupported(
            "a slice of a value", "compute the parts with layers of their own, or return the whole"
        )
    value = reader.map(value)
    stride = (1, step) if axis == len(before) else (step, 1)
    return _emit(
        reader,
        node,
        "select",
        value,
        stride=stride,
        padding=(0, 0, 0, 0),
        channels=(0, 0),
        fill=0.0,
    )
