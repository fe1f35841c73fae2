"""Reads operators that select or reorder elements: slices, splits, shuffles, mirror images."""

import torch
from torch import Tensor, fx

from nbqnn_train.quant.pointwise import ELEMENT, called
from nbqnn_train.quant.reading.arithmetic import product_of
from nbqnn_train.quant.reading.arranging import gathered, indices, repeated
from nbqnn_train.quant.reading.pointwise import table
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value, canonical

__all__ = []


def _rearranged(reader: Reader, node: fx.Node, value: Value) -> list[Tensor]:
    """The places of the value's elements, of one image, after the operator of ``node``."""
    places = indices(value)[None]

    def argument(found):
        constant = reader.values.get(found)
        if not isinstance(constant, Constant):
            raise Unsupported("a choice that is computed from the input", "choose always the same")
        return constant.tensor

    args, kwargs = fx.map_arg((node.args[1:], node.kwargs), argument)
    try:
        results = node.target(places, *args, **kwargs)
    except IndexError as error:
        reason = str(error).partition("\n")[0]
        raise Unsupported(reason, "take channels and positions that are there") from None
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    if any(result.dim() < 2 or len(result) != 1 for result in results):
        raise Unsupported("a part of the batch", "keep the batch in front and whole", "shape")
    return [result[0] for result in results]


@rule("slice")
def _slice(reader: Reader, node: fx.Node, operand, dim, start, end, step) -> Value:
    value = reader.value(operand)
    before, after = value.shape, tuple(node.meta["val"].shape[1:])
    axis = dim % (len(before) + 1)
    if before == after and step == 1:
        return value
    whole = start in (None, 0) and (end is None or (axis and end >= before[axis - 1]))
    spatial = len(before) in (2, 3) and 2 <= axis <= len(before)
    if not (whole and spatial) or step == 1:
        return _moved(reader, node, operand)
    # Every second, third, ... row or column, of maps of any size.
    value = reader.map(value)
    stride = (1, step) if axis == len(before) else (step, 1)
    settings = {"stride": stride, "padding": (0, 0, 0, 0), "channels": (0, 0), "fill": 0.0}
    return reader.emit(node, "select", (value.name,), canonical(after), base=after, **settings)


@rule(
    "select",
    "narrow",
    "index",
    "index_select",
    "flip",
    "roll",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "native_channel_shuffle",
    "repeat_interleave",
)
def _moved(reader: Reader, node: fx.Node, operand, **_) -> Value:
    value = reader.value(operand)
    (places,) = _rearranged(reader, node, value)
    return gathered(reader, value, places)


@rule(
    "split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_split", "unsafe_chunk"
)
def _parts(reader: Reader, node: fx.Node, operand, **_) -> tuple[Value, ...]:
    value = reader.value(operand)
    return tuple(gathered(reader, value, part) for part in _rearranged(reader, node, value))


@rule("glu")
def _gated(reader: Reader, node: fx.Node, operand, dim=-1) -> Value:
    value = reader.value(operand)
    if dim % (len(value.shape) + 1) != 1:
        raise Unsupported(f"glu along dimension {dim}", "take it along channels: dim=1")
    taken, gate = (gathered(reader, value, part) for part in indices(value).chunk(2, 0))
    gate = table(reader, node, gate, called(torch.ops.aten.sigmoid, (ELEMENT,), {}))
    return product_of(reader, node, taken, gate)


@rule("expand", "expand_as", "repeat")
def _expanded(reader: Reader, node: fx.Node, operand, **_) -> Value:
    value = reader.value(operand)
    shape = tuple(node.meta["val"].shape[1:])
    if value.shape == shape:
        return value
    if torch.Size(shape).numel() == value.size and value.plain:
        return value.viewed(shape, reader.base_name(node))
    own = (1,) * (len(shape) - len(value.shape)) + value.shape
    if any(a not in (1, b) for a, b in zip(own, shape, strict=True)):
        (places,) = _rearranged(reader, node, value)
        return gathered(reader, value, places)
    return repeated(reader, value, shape)


@rule("stack")
def _stack(reader: Reader, node: fx.Node, tensors, dim=0) -> Value:
    values = [reader.map(reader.value(tensor)) for tensor in tensors]
    rank = len(values[0].shape) + 2
    if dim % rank != 1 or any(v.shape != values[0].shape for v in values):
        raise Unsupported("a stack along a dimension that is not new channels", "concatenate")
    held = reader.shape(values[0])
    shape = (held[0] * len(values), *held[1:])
    base = tuple(node.meta["val"].shape[1:])
    return reader.emit(node, "concat", tuple(v.name for v in values), shape, base=base)
