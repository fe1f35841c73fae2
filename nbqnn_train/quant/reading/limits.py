"""Reads limits of values: numbers, constants, and other values."""

import math

import torch
from torch import fx

from nbqnn_train.quant.pointwise import called
from nbqnn_train.quant.reading.arithmetic import sum_of, with_offset
from nbqnn_train.quant.reading.pointwise import as_one_table
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value

__all__ = ["clipped", "extreme"]

aten = torch.ops.aten


def clipped(reader: Reader, node: fx.Node, value: Value, low: float, high: float) -> Value:
    """The value, at least ``low`` and at most ``high``."""
    shape, limits = reader.shape(value), (float(low), float(high))
    out = reader.emit(node, "relu", (value.name,), shape, plain=value.plain, limits=limits)
    return value.named(out.name)


@rule("relu", "relu_")
def _relu(reader: Reader, node: fx.Node, operand) -> Value:
    return clipped(reader, node, reader.value(operand), 0, math.inf)


@rule("relu6", "relu6_")
def _relu6(reader: Reader, node: fx.Node, operand) -> Value:
    return clipped(reader, node, reader.value(operand), 0, 6)


@rule("hardtanh", "hardtanh_")
def _hardtanh(reader: Reader, node: fx.Node, operand, min_val, max_val) -> Value:
    return clipped(reader, node, reader.value(operand), min_val, max_val)


@rule("clamp", "clamp_", "clip", "clip_")
def _clamp(reader: Reader, node: fx.Node, operand, low=None, high=None) -> Value:
    value = reader.value(operand)
    low, high = (_limit(reader, limit, value) for limit in (low, high))
    numbers = isinstance(low, float) and isinstance(high, float)
    if numbers and low > high:
        raise Unsupported(
            f"a lower limit of {low:g} above the upper one of {high:g}", "exchange them"
        )
    if numbers:
        return clipped(reader, node, value, low, high)
    # As PyTorch does: where they cross, the upper one counts.
    value = _limited(reader, node, value, low, aten.maximum)
    return _limited(reader, node, value, high, aten.minimum)


@rule("clamp_min", "clamp_min_")
def _clamp_min(reader: Reader, node: fx.Node, operand, low) -> Value:
    return _clamp(reader, node, operand, low=low)


@rule("clamp_max", "clamp_max_")
def _clamp_max(reader: Reader, node: fx.Node, operand, high) -> Value:
    return _clamp(reader, node, operand, high=high)


@rule("maximum", "minimum")
def extreme(reader: Reader, node: fx.Node, operand, other) -> Value:
    """The larger or smaller one of two values, or of a value and a constant."""
    target = node.target.overloadpacket
    target = {aten.max: aten.maximum, aten.min: aten.minimum}.get(target, target)

    def larger(first, second):
        return called(target, (first, second), {})

    one = as_one_table(reader, node, larger, operand, other, product=True)
    if one is not None:
        return one
    if not (reader.is_value(operand) and reader.is_value(other)):
        value, limit = (operand, other) if reader.is_value(operand) else (other, operand)
        side = "low" if target is aten.maximum else "high"
        return _clamp(reader, node, value, **{side: limit})
    # max(a, b) = b + max(a - b, 0), and min(a, b) = a - max(a - b, 0).
    left, right = reader.value(operand), reader.value(other)
    over = _positive(reader, node, sum_of(reader, node, left, right, -1))
    if target is aten.minimum:
        return sum_of(reader, node, left, over, -1)
    return sum_of(reader, node, right, over)


def _limit(reader: Reader, limit, value: Value) -> float | Constant | None:
    """A limit as a number, as a constant that differs by channel or position, or None for none."""
    if limit is None or isinstance(limit, (int, float)):
        return limit if limit is None else float(limit)
    if reader.is_value(limit):
        raise Unsupported("limits that are computed from the input", "use maximum and minimum")
    constant = reader.constant(limit)
    if constant.learned:
        raise Unsupported(
            "limits that are learned", "clip to numbers, or give them requires_grad_(False)"
        )
    tensor = constant.tensor
    shape = (1, *value.shape)
    if tensor.dim() > len(shape) or tuple(torch.broadcast_shapes(tensor.shape, shape)) != shape:
        raise Unsupported(
            f"limits of shape {tuple(tensor.shape)} for a value of shape {value.shape}",
            "give one limit for all, one for each channel, or one for each element",
            "shape",
        )
    first = tensor.flatten()[0]
    return float(first) if bool((tensor == first).all()) else constant


def _limited(reader: Reader, node: fx.Node, value: Value, limit, target) -> Value:
    """``max(x, k) = k + max(x - k, 0)``, and ``min(x, k) = x - max(x - k, 0)``."""
    lower = target is aten.maximum
    if limit is None:
        return value
    if isinstance(limit, float):
        return clipped(reader, node, value, *((limit, math.inf) if lower else (-math.inf, limit)))
    below = Constant(-limit.tensor.float())
    over = _positive(reader, node, with_offset(reader, node, value, below))
    if lower:
        return with_offset(reader, node, over, Constant(limit.tensor.float()))
    return sum_of(reader, node, value, over, -1)


def _positive(reader: Reader, node: fx.Node, value: Value) -> Value:
    """``max(x, 0)``; no value of the module."""
    shape, limits = reader.shape(value), (0.0, math.inf)
    out = reader.emit(node, "relu", (value.name,), shape, plain=False, limits=limits)
    return value.named(out.name)
