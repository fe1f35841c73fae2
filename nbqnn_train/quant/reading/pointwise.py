"""Reads functions of one element. A function of such functions is one table, too."""

import math

import torch
from torch import Tensor, fx

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.pointwise import pointwise_function
from nbqnn_train.quant.pointwise import ELEMENT, called, substituted
from nbqnn_train.quant.reading.operations import Operation
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import RULES, rule
from nbqnn_train.quant.reading.values import Constant, Value

__all__ = ["as_one_table", "functions_of_one", "scaled_table", "table"]

aten = torch.ops.aten

#: Operations with whose requantizer a factor and a summand come for free.
_TAKE_FACTORS = ("conv", "conv_transpose", "linear", "refused")

#: Operators that are functions of one element; their further arguments are numbers.
_NAMES = """
    abs absolute acos acosh asin asinh atan atanh ceil celu cos cosh elu erf erfc exp exp2 expm1
    floor frac gelu hardshrink hardsigmoid hardswish log log10 log1p log2 log_sigmoid logit mish
    reciprocal round rsqrt selu sign silu sin sinh softplus softshrink sqrt square tan tanh trunc
"""
#: Those of them that also have an in-place form.
_IN_PLACE = """
    abs_ celu_ elu_ exp_ hardsigmoid_ hardswish_ log_ mish_ reciprocal_ rsqrt_ selu_ silu_ sqrt_
    square_ tanh_ gelu_
"""


def _is_table(reader: Reader, value: Value) -> bool:
    return reader.operations[value.name].kind == "table"


def table(reader: Reader, node: fx.Node, value: Value, expression, weight=None) -> Value:
    """The table of ``expression``.

    If ``value`` is a table itself, both become one table. So do a factor and a summand before it
    that no layer takes over: ``log(x.relu() + 1e-3)`` has no code for which there is no logarithm.
    """
    while weight is None and _joins(reader, reader.operations[value.name]):
        before = reader.operations[value.name]
        expression = substituted(expression, _step(before))
        value = value.named(before.inputs[0])
    before = reader.operations[value.name]
    if before.kind == "relu" and any(map(_between, before.settings["limits"])):
        # A limit between two codes: the table keeps it, the code is rounded.
        expression = substituted(expression, _step(before))
    tensors = {} if weight is None else {"weight": weight}
    shape = reader.shape(value)
    out = reader.emit(
        node,
        "table",
        (value.name,),
        shape,
        tensors=tensors,
        plain=value.plain,
        expression=expression,
    )
    return value.named(out.name)


def _joins(reader: Reader, before: Operation) -> bool:
    """Whether a table takes over the operation before it."""
    if before.kind == "affine":
        source = reader.operations[before.inputs[0]]
        return source.kind not in _TAKE_FACTORS and _step(before) is not None
    return before.kind == "table" and not before.tensors


def _between(limit: float) -> bool:
    return limit != 0 and math.isfinite(limit)


def _out_of_place(node: fx.Node):
    """The operator of ``node`` in the form that is not in-place."""
    packet = node.target.overloadpacket
    name = packet.__name__
    return getattr(aten, name.rstrip("_")) if name.endswith("_") else packet


@rule(*_NAMES.split(), *(n for n in _IN_PLACE.split() if hasattr(aten, n)))
def _function(reader: Reader, node: fx.Node, operand, **_) -> Value:
    expression = called(_out_of_place(node), (ELEMENT, *node.args[1:]), dict(node.kwargs))
    return table(reader, node, reader.value(operand), expression)


@rule("pow")
def _power(reader: Reader, node: fx.Node, operand, exponent) -> Value:
    if isinstance(operand, (int, float)):
        expression = called(aten.pow, (operand, ELEMENT), {})
        return table(reader, node, reader.value(exponent), expression)
    if not reader.is_value(operand) or isinstance(exponent, fx.Node):
        raise Unsupported("a power whose exponent is computed", "raise to a number")
    return _function(reader, node, operand)


@rule("remainder", "fmod", "floor_divide")
def _divided(reader: Reader, node: fx.Node, operand, other) -> Value:
    """A rest, or a rounded quotient, of a value and a number."""
    divisor = None if reader.is_value(other) else reader.constant(other)
    if divisor is None or divisor.learned or divisor.tensor.numel() != 1:
        raise Unsupported("a division by more than a number", "divide by one number")
    number = divisor.tensor.item()
    if number == 0:
        raise Unsupported("a division by 0", "divide by another number")
    packet = node.target.overloadpacket
    target = _quotient if packet is aten.floor_divide else packet
    return table(reader, node, reader.value(operand), called(target, (ELEMENT, number), {}))


def _quotient(value: Tensor, number: float) -> Tensor:
    """``value // number`` with the gradient of a rounding, 0, which PyTorch's operator lacks."""
    return torch.floor_divide(value.detach(), number) + 0 * value


@rule("nan_to_num", "nan_to_num_")
def _finite(reader: Reader, node: fx.Node, operand, **_) -> Value:
    return reader.value(operand)  # codes are finite


@rule("prelu")
def _learned_slope(reader: Reader, node: fx.Node, operand, weight) -> Value:
    value, slope = reader.value(operand), reader.constant(weight)
    if slope.tensor.numel() == 1:
        reader.rounded = reader.rounded or not slope.path
        expression = called(aten.prelu, (ELEMENT, "weight"), {})
        return table(reader, node, value, expression, slope.tensor)
    # max(x, 0) + slope * min(x, 0), the slope by channel.
    value = reader.map(value) if len(reader.shape(value)) == 3 else reader.vector(value)
    shape = reader.shape(value)
    above, below = (
        reader.emit(node, "relu", (value.name,), shape, plain=False, limits=limits)
        for limits in ((0.0, float("inf")), (float("-inf"), 0.0))
    )
    tensors = {"scale": slope.tensor, "offset": None}
    sloped = reader.emit(node, "affine", (below.name,), shape, plain=False, tensors=tensors)
    out = reader.emit(node, "add", (above.name, sloped.name), shape, plain=value.plain)
    return value.named(out.name)


def _own_function(reader: Reader, node: fx.Node, value, key: int) -> Value:
    """Reads a function that :func:`nbqnn_train.pointwise.pointwise` marks."""
    try:
        function = pointwise_function(key)
    except NbqnnError as error:
        raise Unsupported(str(error), "leave the mark out") from None
    return table(reader, node, reader.value(value), called(function, (ELEMENT,), {}))


RULES[torch.ops.nbqnn.pointwise] = _own_function


# Functions written as sums and products of others.


def as_one_table(reader: Reader, node: fx.Node, combine, a, b, *, product: bool) -> Value | None:
    """A function of two operands as one table. Both must be functions of one value; otherwise, or
    if a sum has no table in it, None.

    combine : makes its expression of those of the operands.
    """
    if not (reader.is_value(a) and reader.is_value(b)):
        return None
    values = [reader.value(operand) for operand in (a, b)]
    found = functions_of_one(reader, values)
    if found is None or not (product or any(_is_table(reader, value) for value in values)):
        return None
    source, expressions = found
    return table(reader, node, source, combine(*expressions))


def functions_of_one(reader: Reader, values: list[Value]) -> tuple[Value, list] | None:
    """The nearest value of which all ``values`` are functions of one element, and the functions;
    None where there is none."""
    first = values[0]
    for other in values[1:]:
        if first.shape != other.shape or first.arrangement() != other.arrangement():
            return None
    ways = [dict(_ways(reader, value)) for value in values]
    for name in ways[0]:
        if all(name in way for way in ways):
            return first.named(name), [way[name] for way in ways]
    return None


def _ways(reader: Reader, value: Value) -> list[tuple[str, object]]:
    """The operations that the value is a function of, with that function; the nearest first."""
    name, expression = value.name, ELEMENT
    found = [(name, expression)]
    while True:
        operation = reader.operations[name]
        step = _step(operation)
        if step is None:
            return found
        name = operation.inputs[0]
        expression = substituted(expression, step)
        found.append((name, expression))


def _step(operation: Operation):
    """The function of one element that an operation is; None where it is something else."""
    if operation.kind == "table" and not operation.tensors:
        return operation.settings["expression"]
    if operation.kind == "relu":
        low, high = operation.settings["limits"]
        return called(aten.clamp, (ELEMENT, low, high), {})
    if operation.kind == "affine":
        scale, offset = _number(operation, "scale", 1.0), _number(operation, "offset", 0.0)
        if scale is not None and offset is not None:
            return called(_affine, (ELEMENT, scale, offset), {})
    return None


def _affine(value, scale, offset):
    return value * scale + offset


def _number(operation: Operation, role: str, nothing: float) -> float | None:
    """A constant of an operation if it is one for all channels and does not learn; else None."""
    tensor = operation.tensors[role]
    if tensor is None:
        return nothing
    if isinstance(tensor, torch.nn.Parameter) or tensor.numel() != 1:
        return None
    return float(tensor)


def scaled_table(
    reader: Reader, node: fx.Node, value: Value, scale: Constant | None, offset: Constant | None
) -> Value | None:
    """``scale * f(x) + offset`` as one table; None where it cannot be."""
    if not _is_table(reader, value) or reader.operations[value.name].tensors:
        return None
    numbers = []
    for constant, nothing in ((scale, 1.0), (offset, 0.0)):
        if constant is not None and (constant.learned or constant.tensor.numel() != 1):
            return None
        numbers.append(nothing if constant is None else float(constant.tensor))
    return table(reader, node, value, called(_affine, (ELEMENT, *numbers), {}))
