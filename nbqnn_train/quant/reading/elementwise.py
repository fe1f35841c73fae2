"""How sums, concatenations, activation functions and what a network ends with are read."""

import math

import torch
from torch import Tensor, fx

from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.remedies import unsupported_operator
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value

__all__ = []


def _clip(reader: Reader, node: fx.Node, operand, low: float, high: float) -> Value:
    value = reader.value(operand)
    shape = reader.shape(value)
    limits = (float(low), float(high))
    out = reader.emit(node, "relu", (value.name,), shape, plain=value.plain, limits=limits)
    return value.named(out.name)


@rule("relu", "relu_")
def _relu(reader: Reader, node: fx.Node, operand) -> Value:
    return _clip(reader, node, operand, 0, math.inf)


@rule("relu6", "relu6_")
def _relu6(reader: Reader, node: fx.Node, operand) -> Value:
    return _clip(reader, node, operand, 0, 6)


@rule("hardtanh", "hardtanh_")
def _hardtanh(reader: Reader, node: fx.Node, operand, min_val, max_val) -> Value:
    return _clip(reader, node, operand, min_val, max_val)


@rule("clamp", "clamp_", "clip", "clip_")
def _clamp(reader: Reader, node: fx.Node, operand, low=None, high=None) -> Value:
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise Unsupported("limits that are tensors", "clip to numbers")
    return _clip(
        reader,
        node,
        operand,
        -math.inf if low is None else low,
        math.inf if high is None else high,
    )


@rule("clamp_min", "clamp_min_")
def _clamp_min(reader: Reader, node: fx.Node, operand, low) -> Value:
    return _clip(reader, node, operand, low, math.inf)


@rule("clamp_max", "clamp_max_")
def _clamp_max(reader: Reader, node: fx.Node, operand, high) -> Value:
    return _clip(reader, node, operand, -math.inf, high)


@rule("threshold", "threshold_")
def _threshold(reader: Reader, node: fx.Node, operand, threshold, value) -> Value:
    if threshold != 0 or value != 0:
        raise unsupported_operator("threshold")
    return _clip(reader, node, operand, 0, math.inf)


@rule("leaky_relu", "leaky_relu_")
def _leaky_relu(reader: Reader, node: fx.Node, operand, negative_slope) -> Value:
    if negative_slope != 0:
        raise unsupported_operator("leaky_relu")
    return _clip(reader, node, operand, 0, math.inf)


# Sums.


@rule("add", "add_")
def _add(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, operand, other, alpha)


@rule("sub", "sub_")
def _sub(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, operand, other, -alpha)


@rule("rsub")
def _rsub(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, other, operand, -alpha)


def _sum(reader: Reader, node: fx.Node, a, b, alpha: float) -> Value:
    """``a + alpha * b``"""
    if not reader.is_value(b):
        offset = _scaled(reader.constant(b), alpha)
        return _affine(reader, node, reader.value(a), None, offset)
    if not reader.is_value(a):
        scale = None if alpha == 1 else Constant(torch.tensor(float(alpha)))
        return _affine(reader, node, reader.value(b), scale, reader.constant(a))
    left, right = reader.value(a), reader.value(b)
    if alpha != 1:
        right = _affine(reader, node, right, Constant(torch.tensor(float(alpha))), None)
    if left.shape != right.shape:
        raise Unsupported(
            f"a sum of values of the shapes {left.shape} and {right.shape}",
            "add values of one shape",
            "shape",
        )
    if reader.shape(left) != reader.shape(right):
        left, right = reader.vector(left), reader.vector(right)
    if left.arrangement() != right.arrangement():
        raise Unsupported(
            "a sum of values whose dimensions are in different orders",
            "keep (N, C, H, W)",
            "shape",
        )
    names = left.name, right.name
    out = reader.emit(node, "add", names, reader.shape(left), plain=left.plain)
    return left.named(out.name)


def _scaled(constant: Constant, factor: float) -> Constant:
    if factor == 1:
        return constant
    return Constant(constant.tensor.detach() * factor, learned=constant.learned)


# Products with constants.


@rule("mul", "mul_", "multiply")
def _mul(reader: Reader, node: fx.Node, operand, other) -> Value:
    if reader.is_value(operand) and reader.is_value(other):
        raise Unsupported(
            "a product of two values of the network",
            "train without it: sums and concatenations are supported",
        )
    value, constant = (operand, other) if reader.is_value(operand) else (other, operand)
    return _affine(reader, node, reader.value(value), reader.constant(constant), None)


@rule("div", "div_")
def _div(reader: Reader, node: fx.Node, operand, other, rounding_mode=None) -> Value:
    if rounding_mode is not None or reader.is_value(other):
        raise Unsupported("a division by a value of the network", "divide by constants only")
    constant = reader.constant(other)
    scale = Constant(1 / constant.tensor.detach().double(), learned=constant.learned)
    return _affine(reader, node, reader.value(operand), scale, None)


@rule("neg", "neg_")
def _neg(reader: Reader, node: fx.Node, operand) -> Value:
    return _affine(reader, node, reader.value(operand), Constant(torch.tensor(-1.0)), None)


def _affine(
    reader: Reader,
    node: fx.Node,
    value: Value,
    scale: Constant | None,
    offset: Constant | None,
) -> Value:
    """``scale * value + offset``, each for all elements or by channel."""
    reader.rounded = True
    tensors = {
        "scale": _by_channel(node, value, scale, 1),
        "offset": _by_channel(node, value, offset, 0),
    }
    if tensors["scale"] is None and tensors["offset"] is None:
        return value
    if not value.plain:
        if any(t is not None and t.numel() > 1 for t in tensors.values()):
            raise Unsupported(
                "a factor or summand by channel where dimensions are in another order",
                "keep (N, C, H, W)",
                "shape",
            )
    elif len(reader.shape(value)) == 1 or len(value.base) == 1:
        if any(t is not None and t.numel() > 1 for t in tensors.values()):
            value = reader.vector(value)
    else:
        value = reader.map(value)
    out = reader.emit(
        node, "affine", (value.name,), reader.shape(value), tensors=tensors, plain=value.plain
    )
    return value.named(out.name)


def _by_channel(
    node: fx.Node, value: Value, constant: Constant | None, nothing: float
) -> Tensor | None:
    """A constant as a tensor of 1 or C elements; None where it changes nothing."""
    if constant is None:
        return None
    tensor = constant.tensor
    if not constant.learned and bool((tensor == nothing).all()) and tensor.dim() == 0:
        return None
    rank = len(value.shape) + 1
    shape = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    per_channel = len(shape) == rank and all(
        size == 1 or (axis == 1 and size == value.shape[0]) for axis, size in enumerate(shape)
    )
    if not per_channel:
        raise Unsupported(
            f"a constant of shape {tuple(tensor.shape)} with a value of shape {value.shape}",
            "use one number for all, or one for each channel",
            "shape",
        )
    tensor = tensor.detach().reshape(-1)
    return torch.nn.Parameter(tensor.clone()) if constant.learned else tensor


# Concatenation.


@rule("cat", "concat", "concatenate")
def _cat(reader: Reader, node: fx.Node, tensors, dim=0) -> Value:
    values = [reader.value(tensor) for tensor in tensors]
    rank = len(values[0].shape) + 1
    if len(values) == 1:
        return values[0]
    if any(not value.plain for value in values) or dim % rank != 1:
        raise Unsupported(
            f"a concatenation along dimension {dim} of values of {rank} dimensions",
            "concatenate channels; return parts of a result one by one",
            "shape",
        )
    if any(len(reader.shape(value)) == 1 or len(value.base) == 1 for value in values):
        values = [reader.vector(value) for value in values]
    else:
        values = [reader.map(value) for value in values]
    base = tuple(node.meta["val"].shape[1:])
    held = (sum(reader.shape(v)[0] for v in values), *reader.shape(values[0])[1:])
    return reader.emit(node, "concat", tuple(v.name for v in values), held, base=base)


# What a network ends with.


@rule("softmax", "_softmax")
def _softmax(reader: Reader, node: fx.Node, operand, dim, **_) -> Value:
    return _final(reader, node, "softmax", operand, dim)


@rule("log_softmax", "_log_softmax")
def _log_softmax(reader: Reader, node: fx.Node, operand, dim, **_) -> Value:
    return _final(reader, node, "log_softmax", operand, dim)


@rule("argmax")
def _argmax(reader: Reader, node: fx.Node, operand, dim=None, keepdim=False) -> Value:
    return _final(reader, node, "argmax", operand, dim)


@rule("sigmoid", "sigmoid_")
def _sigmoid(reader: Reader, node: fx.Node, operand) -> Value:
    return _final(reader, node, "sigmoid", operand, 1)


def _final(reader: Reader, node: fx.Node, kind: str, operand, dim) -> Value:
    value = reader.value(operand)
    rank = len(value.shape) + 1
    last = all(user.op == "output" for user in node.users) and bool(node.users)
    if not last or dim is None or dim % rank != 1:
        raise unsupported_operator(kind)
    reader.finals[node] = kind
    reader.note(node, f"{kind} at the end is left out; what comes before it is the output")
    return value
