"""Reads sums and products: of values, and of values and constants."""

import math

import torch
from torch import Tensor, fx

from nbqnn_train.quant.pointwise import ELEMENT, called
from nbqnn_train.quant.reading.arranging import repeated
from nbqnn_train.quant.reading.pointwise import as_one_table, scaled_table, table
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value, canonical

__all__ = ["product_of", "scaled_by", "sum_of", "with_offset"]

aten = torch.ops.aten

# Sums.


@rule("add", "add_")
def _add(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, operand, other, alpha)


@rule("sub", "sub_", "subtract")
def _sub(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, operand, other, -alpha)


@rule("rsub")
def _rsub(reader: Reader, node: fx.Node, operand, other, alpha=1) -> Value:
    return _sum(reader, node, other, operand, -alpha)


def _plus(a, b, alpha):
    return a + alpha * b


def _call(target):
    """A function that makes of two expressions the expression of a call."""
    return lambda first, second: called(target, (first, second), {})


def _sum(reader: Reader, node: fx.Node, a, b, alpha: float) -> Value:
    """``a + alpha * b``"""
    if not reader.is_value(b):
        offset = _scaled(reader.constant(b), alpha)
        return _affine(reader, node, reader.value(a), None, offset)
    if not reader.is_value(a):
        scale = None if alpha == 1 else Constant(torch.tensor(float(alpha)))
        return _affine(reader, node, reader.value(b), scale, reader.constant(a))

    def plus(first, second):
        return called(_plus, (first, second, alpha), {})

    one = as_one_table(reader, node, plus, a, b, product=False)
    if one is not None:
        return one
    return sum_of(reader, node, reader.value(a), reader.value(b), alpha)


def sum_of(reader: Reader, node: fx.Node, left: Value, right: Value, alpha: float = 1) -> Value:
    """``left + alpha * right``"""
    power = abs(alpha) != 0 and math.frexp(abs(alpha))[0] == 0.5
    if not power:
        right = _affine(reader, node, right, Constant(torch.tensor(float(alpha))), None)
        alpha = 1
    left, right = _alike(reader, left, right, "a sum")
    names, shape = (left.name, right.name), reader.shape(left)
    if alpha == 1:
        out = reader.emit(node, "add", names, shape, plain=left.plain)
    else:
        factors = (1.0, float(alpha))
        out = reader.emit(node, "sum", names, shape, plain=left.plain, factors=factors)
    return left.named(out.name)


def _alike(reader: Reader, left: Value, right: Value, what: str) -> tuple[Value, Value]:
    """Both values in the same shape and order."""
    if left.shape != right.shape:
        shape = tuple(torch.broadcast_shapes(left.shape, right.shape))
        if shape not in (left.shape, right.shape):
            raise Unsupported(
                f"{what} of values of the shapes {left.shape} and {right.shape}",
                "give both the same shape, or one of them a single position or channel",
                "shape",
            )
        left, right = (
            value if value.shape == shape else repeated(reader, value, shape)
            for value in (left, right)
        )
    held = reader.shape(left), reader.shape(right)
    if left.arrangement() == right.arrangement() and held[0] == held[1]:
        return left, right
    if left.plain and right.plain and max(left.base, default=1) == left.size:
        return reader.vector(left), reader.vector(right)
    return reader.map(left), reader.map(right)


def _scaled(constant: Constant, factor: float) -> Constant:
    if factor == 1:
        return constant
    return Constant(constant.tensor.detach() * factor, learned=constant.learned)


# Products.


@rule("mul", "mul_", "multiply")
def _mul(reader: Reader, node: fx.Node, operand, other) -> Value:
    if reader.is_value(operand) and reader.is_value(other):
        one = as_one_table(reader, node, _call(aten.mul), operand, other, product=True)
        return _product(reader, node, operand, other) if one is None else one
    value, constant = (operand, other) if reader.is_value(operand) else (other, operand)
    return _affine(reader, node, reader.value(value), reader.constant(constant), None)


@rule("lerp", "lerp_")
def _lerp(reader: Reader, node: fx.Node, operand, end, weight) -> Value:
    """``operand + weight * (end - operand)``"""
    start = reader.value(operand)
    step = sum_of(reader, node, reader.value(end), start, -1)
    if reader.is_value(weight):
        return sum_of(reader, node, start, product_of(reader, node, step, reader.value(weight)))
    if isinstance(weight, (int, float)) and weight:
        return sum_of(reader, node, start, step, weight)
    return sum_of(reader, node, start, _affine(reader, node, step, reader.constant(weight), None))


def _product(reader: Reader, node: fx.Node, a, b) -> Value:
    return product_of(reader, node, reader.value(a), reader.value(b))


def product_of(reader: Reader, node: fx.Node, left: Value, right: Value) -> Value:
    """``left * right``"""
    left, right = (_single(reader, value) for value in (left, right))
    if left.size < right.size:
        left, right = right, left
    if left.shape == right.shape:
        left, right = _alike(reader, left, right, "a product")
    else:
        shape = tuple(torch.broadcast_shapes(left.shape, right.shape))
        if shape != left.shape:
            left = repeated(reader, left, shape)
        left = reader.map(left)
        right = _factor(reader, right, shape)
    names = left.name, right.name
    out = reader.emit(node, "multiply", names, reader.shape(left), plain=left.plain)
    return left.named(out.name)


def _single(reader: Reader, value: Value) -> Value:
    """The map of one position that the value repeats; the value itself where it repeats none."""
    operation = reader.operations[value.name]
    if operation.kind != "upsample" or not value.plain or len(value.base) != 3:
        return value
    source = reader.operations[operation.inputs[0]]
    if source.shape[1:] != (1, 1) or value.base != operation.shape:
        return value
    return Value(source.name, source.shape)


def _factor(reader: Reader, value: Value, shape: tuple[int, ...]) -> Value:
    """A value as second factor of a map of ``shape``: a number for each channel, or repeated."""
    rank = len(shape)
    own = (1,) * (rank - len(value.shape)) + value.shape
    if all(size == 1 for size in own[1:]) and value.plain:
        value = reader.map(Value(value.name, own))
        return value if own[0] == shape[0] else repeated(reader, value, (shape[0], *own[1:]))
    return repeated(reader, value, shape)


@rule("div", "div_", "true_divide")
def _div(reader: Reader, node: fx.Node, operand, other, rounding_mode=None) -> Value:
    if rounding_mode is None and reader.is_value(other):
        if not reader.is_value(operand):
            expression = called(aten.reciprocal, (ELEMENT,), {})
            inverse = table(reader, node, reader.value(other), expression)
            return _affine(reader, node, inverse, reader.constant(operand), None)
        one = as_one_table(reader, node, _call(aten.div), operand, other, product=True)
        if one is not None:
            return one
    if rounding_mode is not None or reader.is_value(other):
        raise Unsupported("a division by a value of the network", "divide by constants only")
    constant = reader.constant(other)
    scale = Constant(1 / constant.tensor.detach().double(), learned=constant.learned)
    return _affine(reader, node, reader.value(operand), scale, None)


@rule("neg", "neg_", "negative")
def _neg(reader: Reader, node: fx.Node, operand) -> Value:
    return _affine(reader, node, reader.value(operand), Constant(torch.tensor(-1.0)), None)


def scaled_by(reader: Reader, node: fx.Node, value: Value, number: float) -> Value:
    """``number * value``"""
    return _affine(reader, node, value, Constant(torch.tensor(float(number))), None)


def with_offset(reader: Reader, node: fx.Node, value: Value, offset: Constant) -> Value:
    """``value + offset``"""
    return _affine(reader, node, value, None, offset)


def _affine(
    reader: Reader,
    node: fx.Node,
    value: Value,
    scale: Constant | None,
    offset: Constant | None,
) -> Value:
    """``scale * value + offset``. Both are one number, one for each channel, or a constant map."""
    one = scaled_table(reader, node, value, scale, offset)
    if one is not None:
        return one
    for kind, constant in (("multiply", scale), ("sum", offset)):
        if constant is not None and _is_map(value, constant):
            other = offset if kind == "multiply" else scale
            if other is not None and other.tensor.numel() > 1:
                raise Unsupported("constants of two shapes", "write them one after the other")
            if kind == "sum" and scale is not None:
                value = _affine(reader, node, value, scale, None)
            value = _with_constant(reader, node, value, kind, constant)
            if kind == "multiply" and offset is not None:
                value = _affine(reader, node, value, None, offset)
            return value
    reader.rounded = True
    tensors = {
        "scale": _by_channel(value, scale, 1),
        "offset": _by_channel(value, offset, 0),
    }
    if tensors["scale"] is None and tensors["offset"] is None:
        return value
    if not value.plain:
        if any(t is not None and t.numel() > 1 for t in tensors.values()):
            value = reader.map(value)
    elif len(reader.shape(value)) == 1 or len(value.base) == 1:
        if any(t is not None and t.numel() > 1 for t in tensors.values()):
            value = reader.vector(value)
    else:
        value = reader.map(value)
    out = reader.emit(
        node, "affine", (value.name,), reader.shape(value), tensors=tensors, plain=value.plain
    )
    return value.named(out.name)


def _own_shape(value: Value, tensor: Tensor) -> tuple[int, ...]:
    """The shape of a constant beside a value, batch included."""
    return (1,) * (len(value.shape) + 1 - tensor.dim()) + tuple(tensor.shape)


def _is_map(value: Value, constant: Constant) -> bool:
    """Whether a constant differs between positions, or repeats the value."""
    shape = _own_shape(value, constant.tensor)
    if len(shape) != len(value.shape) + 1 or shape[0] != 1:
        return False
    fits = all(size in (1, own) for size, own in zip(shape[1:], value.shape, strict=True))
    return fits and any(size > 1 for size in shape[2:])


def _with_constant(
    reader: Reader, node: fx.Node, value: Value, kind: str, constant: Constant
) -> Value:
    """The sum or product of a map and a constant of its shape."""
    value = reader.map(value)
    shape = reader.shape(value)
    own = _own_shape(value, constant.tensor)[1:]
    tensor = constant.tensor
    if canonical(own) != shape or not constant.path:
        tensor = tensor.detach().reshape(own).expand(value.shape).reshape(shape).contiguous()
        tensor = torch.nn.Parameter(tensor) if constant.learned else tensor
        reader.rounded = True
    tensors = {"constant": tensor}
    settings = {"factors": (1.0, 1.0)} if kind == "sum" else {}
    out = reader.emit(
        node, kind, (value.name,), shape, tensors=tensors, plain=value.plain, **settings
    )
    return value.named(out.name)


def _by_channel(value: Value, constant: Constant | None, nothing: float) -> Tensor | None:
    """A constant as a tensor of 1 or C elements; None where it changes nothing."""
    if constant is None:
        return None
    tensor = constant.tensor
    if not constant.learned and bool((tensor == nothing).all()) and tensor.dim() == 0:
        return None
    shape = _own_shape(value, tensor)
    per_channel = len(shape) == len(value.shape) + 1 and all(
        size == 1 or (axis == 1 and size == value.shape[0]) for axis, size in enumerate(shape)
    )
    if not per_channel:
        raise Unsupported(
            f"a constant of shape {tuple(tensor.shape)} with a value of shape {value.shape}",
            "use one number for all, one for each channel, or one for each element",
            "shape",
        )
    tensor = tensor.detach().reshape(-1)
    return torch.nn.Parameter(tensor.clone()) if constant.learned else tensor
