"""Operators without weights: element by element, over dimensions, and those that end a network."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nbqnn_train.models.from_onnx.operator import Apply, Part, builder

__all__ = []

_PLAIN = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Div": torch.div,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}
for _kind, _function in _PLAIN.items():
    builder(_kind)(lambda part, function=_function: part.applied(function))


@builder("Sum")
def _sum(part: Part) -> nn.Module:
    return part.applied(lambda *values: sum(values[1:], values[0]))


@builder("Mean")
def _mean(part: Part) -> nn.Module:
    return part.applied(lambda *values: sum(values[1:], values[0]) / len(values))


@builder("Max", "Min")
def _extreme(part: Part) -> nn.Module:
    largest = part.operator.kind == "Max"
    constants = [place for place in range(len(part.operator.inputs)) if part.is_constant(place)]
    if len(part.operator.inputs) == 2 and len(constants) == 1:
        limit = part.number(constants[0])
        limits = {"min" if largest else "max": limit}
        return Apply(lambda value: value.clamp(**limits))
    if len(part.operator.inputs) != 2:
        raise part.refuse(f"inputs must be 2, not {len(part.operator.inputs)}")
    return part.applied(torch.maximum if largest else torch.minimum)


@builder("Clip")
def _clip(part: Part) -> nn.Module:
    attributes = part.operator.attributes
    low = part.number(1) if part.has(1) else attributes.get("min")
    high = part.number(2) if part.has(2) else attributes.get("max")
    largest = torch.finfo(torch.float32).max
    low = None if low is None or low <= -largest else float(low)
    high = None if high is None or high >= largest else float(high)
    if low is None and high is None:
        return nn.Identity()
    return Apply(lambda value: value.clamp(low, high))


@builder("Identity")
def _identity(part: Part) -> nn.Module:
    return nn.Identity()


@builder("Dropout")
def _dropout(part: Part) -> nn.Module:
    share = part.number(1) if part.has(1) else part.operator.number("ratio", 0.5)
    if not 0 <= share <= 1:
        raise part.refuse(f"ratio must be in [0, 1], not {share:g}")
    return nn.Dropout(share)


@builder("Cast")
def _cast(part: Part) -> nn.Module:
    kind = part.operator.integer("to")
    if kind in (1, 10, 11, 16):  # floating point
        return Apply(lambda value: value if value.is_floating_point() else value.float())
    if kind in (6, 7):  # int32, int64
        return Apply(lambda value: value.long())
    raise part.refuse("it must lead to floating point or integers")


# Activation functions.


@builder("LeakyRelu")
def _leaky_relu(part: Part) -> nn.Module:
    return nn.LeakyReLU(part.operator.number("alpha", 0.01))


@builder("Elu")
def _elu(part: Part) -> nn.Module:
    return nn.ELU(part.operator.number("alpha", 1.0))


@builder("Celu")
def _celu(part: Part) -> nn.Module:
    return nn.CELU(part.operator.number("alpha", 1.0))


@builder("Selu")
def _selu(part: Part) -> nn.Module:
    return nn.SELU()


@builder("Mish")
def _mish(part: Part) -> nn.Module:
    return nn.Mish()


@builder("HardSwish")
def _hard_swish(part: Part) -> nn.Module:
    return nn.Hardswish()


@builder("Gelu")
def _gelu(part: Part) -> nn.Module:
    return nn.GELU(part.operator.text("approximate", "none").lower())


@builder("HardSigmoid")
def _hard_sigmoid(part: Part) -> nn.Module:
    alpha, beta = part.operator.number("alpha", 0.2), part.operator.number("beta", 0.5)
    if beta == 0.5 and math.isclose(alpha, 1 / 6, rel_tol=1e-5):
        return nn.Hardsigmoid()
    return Apply(lambda value: (value * alpha + beta).clamp(0, 1))


# Over dimensions.


def _mean(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    return value.mean(axes, keepdim=keep)


_REDUCTIONS = {
    "ReduceL2": lambda value, axes, keep: value.square().sum(axes, keepdim=keep).sqrt(),
    "ReduceMax": lambda value, axes, keep: value.amax(axes, keepdim=keep),
    "ReduceMean": _mean,
    "ReduceMin": lambda value, axes, keep: value.amin(axes, keepdim=keep),
    "ReduceSum": lambda value, axes, keep: value.sum(axes, keepdim=keep),
}


@builder(*_REDUCTIONS)
def _reduction(part: Part) -> nn.Module:
    reduce = _REDUCTIONS[part.operator.kind]
    rank = len(part.shape(0))
    axes = part.integers(1, "axes")
    if not axes:
        if part.operator.integer("noop_with_empty_axes", 0):
            return nn.Identity()
        axes = range(rank)
    axes = [axis % rank for axis in axes]
    if 0 in axes:
        raise part.refuse("axes must leave the batch alone, not hold 0")
    keep = bool(part.operator.integer("keepdims", 1))
    return Apply(lambda value: reduce(value, axes, keep))


def _axis(part: Part, default: int) -> int:
    return part.operator.integer("axis", default) % len(part.shape(0))


@builder("Softmax", "LogSoftmax")
def _softmax(part: Part) -> nn.Module:
    axis = _axis(part, -1 if part.model.opset >= 13 else 1)
    if part.model.opset < 13 and any(size != 1 for size in part.shape(0)[axis + 1 :]):
        raise part.refuse("axis must be the last dimension before opset 13")
    return (nn.Softmax if part.operator.kind == "Softmax" else nn.LogSoftmax)(axis)


@builder("ArgMax")
def _arg_max(part: Part) -> nn.Module:
    axis, keep = _axis(part, 0), bool(part.operator.integer("keepdims", 1))
    return Apply(lambda value: value.argmax(axis, keepdim=keep))
