"""Reads padding."""

import math

import torch
from torch import fx

from nbqnn_train.quant.reading.arranging import gathered, indices
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []


@rule("pad", "constant_pad_nd")
def _pad(reader: Reader, node: fx.Node, operand, pad, mode="constant", value=None) -> Value:
    return _padded(reader, node, operand, pad, mode, 0.0 if value is None else float(value))


@rule("reflection_pad2d", "reflection_pad1d")
def _reflected(reader: Reader, node: fx.Node, operand, padding) -> Value:
    return _padded(reader, node, operand, padding, "reflect", 0.0)


@rule("replication_pad2d", "replication_pad1d")
def _replicated(reader: Reader, node: fx.Node, operand, padding) -> Value:
    return _padded(reader, node, operand, padding, "replicate", 0.0)


def _padded(reader: Reader, node: fx.Node, operand, pad, mode: str, fill: float) -> Value:
    value = reader.value(operand)
    if not any(pad):
        return value
    if len(value.shape) == 1:
        raise Unsupported("padding of a vector", "pad maps and series")
    if mode == "circular":
        value = reader.map(value)
        places = torch.nn.functional.pad(indices(value)[None], pad, mode)
        return gathered(reader, value, places[0])
    value = _cropped(reader, value, pad)
    pad = [max(0, p) for p in pad]
    if not any(pad):
        return value
    value = reader.map(value)
    flat = len(value.base) == 2
    pad = [*pad, *(0,) * (8 - len(pad))]
    if flat:
        (left, right), (front, back), (top, bottom) = pad[:2], pad[2:4], (0, 0)
        rest = pad[4:]
    else:
        (left, right), (top, bottom), (front, back), rest = pad[:2], pad[2:4], pad[4:6], pad[6:]
    if any(rest):
        raise Unsupported("padding of the batch", "pad maps only")
    base = tuple(node.meta["val"].shape[1:])
    held, padding = canonical(base), (top, left, bottom, right)
    if mode == "constant" and fill in (0, -math.inf):
        settings = {"stride": (1, 1), "padding": padding, "channels": (front, back), "fill": fill}
        return reader.emit(node, "select", (value.name,), held, base=base, **settings)
    if front or back:
        raise Unsupported("padding of channels with something other than zeros", "pad with zeros")
    settings = {"padding": padding, "mode": mode, "value": fill}
    return reader.emit(node, "pad", (value.name,), held, base=base, **settings)


def _cropped(reader: Reader, value: Value, pad) -> Value:
    """The value without what negative padding cuts off."""
    cuts = [min(0, p) for p in pad]
    if not any(cuts):
        return value
    places = torch.nn.functional.pad(indices(value), cuts)
    return gathered(reader, value, places)
