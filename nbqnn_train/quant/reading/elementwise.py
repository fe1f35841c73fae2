"""Reads sums, concatenations, activation functions and finals."""

import math

import torch
from torch import fx

from nbqnn_train.quant.pointwise import ELEMENT, called
from nbqnn_train.quant.reading.arithmetic import with_offset
from nbqnn_train.quant.reading.arranging import beside
from nbqnn_train.quant.reading.limits import clipped
from nbqnn_train.quant.reading.nodes import only_arranged
from nbqnn_train.quant.reading.pointwise import table
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.remedies import unsupported_operator
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Joined, Value, canonical

__all__ = []


@rule("threshold", "threshold_")
def _threshold(reader: Reader, node: fx.Node, operand, threshold, value) -> Value:
    if threshold != 0 or value != 0:
        expression = called(torch.ops.aten.threshold, (ELEMENT, threshold, value), {})
        return table(reader, node, reader.value(operand), expression)
    return clipped(reader, node, reader.value(operand), 0, math.inf)


@rule("leaky_relu", "leaky_relu_")
def _leaky_relu(reader: Reader, node: fx.Node, operand, negative_slope) -> Value:
    if negative_slope != 0:
        expression = called(torch.ops.aten.leaky_relu, (ELEMENT, negative_slope), {})
        return table(reader, node, reader.value(operand), expression)
    return clipped(reader, node, reader.value(operand), 0, math.inf)


@rule("rrelu", "rrelu_")
def _random_slope(reader: Reader, node: fx.Node, operand, lower, upper, training, **_) -> Value:
    """In evaluation the slope is the mean of its limits."""
    if training:
        raise Unsupported("a slope that is random in evaluation", "give it training=self.training")
    return _leaky_relu(reader, node, operand, (lower + upper) / 2)


# Concatenation.


@rule("cat", "concat", "concatenate")
def _cat(reader: Reader, node: fx.Node, tensors, dim=0) -> Value | Joined:
    given = [tensor for tensor in tensors if reader.is_whole(tensor)]
    if given == list(tensors) and only_arranged(node):
        at_end = _joined(reader, [reader.whole(tensor) for tensor in tensors], dim)
        if at_end is not None:
            return at_end
    example = reader.value((given or tensors)[0])
    values = [
        reader.value(tensor) if tensor in given else _constant_beside(reader, node, tensor, example)
        for tensor in tensors
    ]
    rank = len(values[0].shape) + 1
    if len(values) == 1:
        return values[0]
    if dim % rank > 1 and rank in (3, 4):
        return beside(reader, values, dim % rank - 1, tuple(node.meta["val"].shape[1:]))
    if any(not value.plain for value in values) or dim % rank != 1:
        raise Unsupported(
            f"a concatenation along dimension {dim} of values of {rank} dimensions",
            "concatenate channels or positions, or anything at the end of the network",
            "shape",
        )
    if any(len(reader.shape(value)) == 1 or len(value.base) == 1 for value in values):
        values = [reader.vector(value) for value in values]
    else:
        values = [reader.map(value) for value in values]
    base = tuple(node.meta["val"].shape[1:])
    held = (sum(reader.shape(v)[0] for v in values), *reader.shape(values[0])[1:])
    return reader.emit(node, "concat", tuple(v.name for v in values), held, base=base)


def _joined(reader: Reader, parts: list[Value | Joined], dim: int) -> Joined | None:
    """What nothing but the host needs in one tensor; None if a layer joins it for nothing."""
    rank = len(parts[0].shape) + 1
    by_channels = dim % rank == 1 and all(
        isinstance(part, Value)
        and part.plain
        and (len(part.base) == 3 or canonical(part.base) == reader.shape(part))
        for part in parts
    )
    if by_channels or len(parts) == 1 or dim % rank == 0:
        return None
    return Joined(tuple(parts), dim % rank - 1)


def _constant_beside(reader: Reader, node: fx.Node, operand, example: Value) -> Value:
    """A constant that is concatenated with ``example``: channels of it that become 0, and it."""
    constant = reader.constant(operand)
    tensor = constant.tensor
    shape = (1, *tensor.shape[1:])
    if tensor.dim() != 4 or len(example.shape) != 3 or shape[2:] != example.shape[1:]:
        raise Unsupported(
            f"a constant of shape {tuple(tensor.shape)} in a concatenation",
            "concatenate constants with maps only, along their channels",
            "shape",
        )
    if not bool((tensor == tensor[:1]).all()):
        raise Unsupported("a constant that differs by image", "use one for all images")
    tensor = tensor[:1]
    if bool((tensor == tensor[:, :, :1, :1]).all()):
        tensor = tensor[:, :, :1, :1]
    source, channels = reader.map(example), shape[1]
    held = (channels, *example.shape[1:])
    index = (0,) * channels
    zero = reader.emit(node, "channels", (source.name,), held, base=held, index=index)
    zero = reader.emit(node, "relu", (zero.name,), held, base=held, limits=(0.0, 0.0))
    return with_offset(reader, node, zero, Constant(tensor, learned=constant.learned))


# Finals.


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
    if _is_last(node):
        return _final(reader, node, "sigmoid", operand, 1)
    expression = called(torch.ops.aten.sigmoid, (ELEMENT,), {})
    return table(reader, node, reader.value(operand), expression)


def _is_last(node: fx.Node) -> bool:
    return all(user.op == "output" for user in node.users) and bool(node.users)


def _final(reader: Reader, node: fx.Node, kind: str, operand, dim) -> Value:
    value = reader.value(operand)
    rank = len(value.shape) + 1
    if not _is_last(node):
        raise unsupported_operator(kind)
    if dim is None or dim % rank != 1:
        along = "all dimensions" if dim is None else f"dimension {dim % rank}"
        raise Unsupported(f"{kind} along {along}", "leave it out, or take it along channels: dim=1")
    reader.finals[node] = kind
    reader.note(node, f"{kind} at the end is left out; what comes before it is the output")
    return value
