"""Operators element by element: offsets, factors, limits, roundings, and the sum of two tensors."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS, ADD_SHIFT
from nbqnn_train.graph.nodes import Add, Clip
from nbqnn_train.graph.operators import Multiply

from .building import activation, labelled, of_activations
from .lines import Chain, Line, columns
from .model import Operator
from .reader import Reader, fractions
from .repeats import alike
from .values import Leaf, Value, elementwise
from .weights import exact_log2

__all__ = [
    "add",
    "batch_normalization",
    "cast",
    "clip",
    "div",
    "dropout",
    "identity",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "neg",
    "relu",
    "rounding",
    "sub",
]

_FLOATS = {1: "float", 11: "double"}
_INTEGERS = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767)}
_WIDE_INTEGERS = {6: 31, 7: 63, 12: 32, 13: 64}


def _constant(reader: Reader, op: Operator) -> tuple[Value, int]:
    """The operand that is not constant, and the place of the constant one."""
    for number in (0, 1):
        if isinstance(reader.value(op, number), np.ndarray):
            return reader.varying(op, 1 - number), number
    raise GraphError(
        f"{op.what}: both operands must be results of a Quant, or one must be constant"
    )


def add(reader: Reader, op: Operator) -> Value:
    """A sum of activations, or an offset; of more than two one after the other."""
    if len(op.inputs) == 1:
        return reader.value(op, 0)
    if len(op.inputs) > 2:
        *first, last = op.inputs
        before = f"{len(first)} of {op.outputs[0]}"
        while before in reader.values:
            before += "_"
        reader.values[before] = add(reader, replace(op, inputs=tuple(first), outputs=(before,)))
        return add(reader, replace(op, inputs=(before, last)))
    if not any(isinstance(reader.value(op, number), np.ndarray) for number in (0, 1)):
        return _sum(reader, op, reader.varying(op, 0), reader.varying(op, 1))
    value, number = _constant(reader, op)
    return elementwise(op.what, value, "plus", reader.per_channel(op, number, value))


def mean(reader: Reader, op: Operator) -> Value:
    """The mean of several activations."""
    factor = (Fraction(1, len(op.inputs)),)
    return elementwise(op.what, add(reader, op), "times", factor)


def _sum(reader: Reader, op: Operator, a: Value, b: Value) -> Value:
    a, b = alike(reader, op, a, b)
    if _same_source(a, b):
        lines = a.chain.line, b.chain.line
        line = Line(
            scale=columns(lambda x, y: x + y, lines[0].scale, lines[1].scale),
            offset=columns(lambda x, y: x + y, lines[0].offset, lines[1].offset),
        )
        return Leaf(a.source, a.shape, Chain(line=line), a.real)
    leaves = [activation(reader, op.what, value, name) for value, name in _named(op, (a, b))]
    steps = [leaf.chain.line.scale[0] for leaf in leaves]
    ratio = exact_log2(steps[0] / steps[1])
    if ratio is None:
        raise GraphError(
            f"{op.what}: operands in steps of {float(steps[0]):g} and {float(steps[1]):g}; one "
            "step must be a power of two times the other: give both one Quant"
        )
    if abs(ratio) > ADD_SHIFT[1]:
        raise GraphError(f"{op.what}: steps of the operands differ by 2**{ratio}; at most 2**31")
    exponents = [reader.types[leaf.source].exponent for leaf in leaves]
    if exponents[0] - exponents[1] != ratio:
        # Factors have changed the steps: both operands get exponents that fit them.
        leaves = [labelled(reader, op.what, leaf, name) for leaf, name in _named(op, leaves)]
    node = Add(
        name=reader.free(op.outputs[0]),
        operands=tuple(leaf.source for leaf in leaves),
        shifts=(max(ratio, 0), max(-ratio, 0)),
        acc_bits=ACC_BITS[1],
    )
    return Leaf(reader.put(node), a.shape, Chain(line=Line(scale=(min(steps),))))


def _named(op: Operator, values) -> list[tuple]:
    return list(zip(values, op.inputs, strict=True))


def _same_source(a: Value, b: Value) -> bool:
    plain = all(
        isinstance(v, Leaf) and not v.chain.roundings and not v.chain.line.limited for v in (a, b)
    )
    return plain and a.source == b.source


def sub(reader: Reader, op: Operator) -> Value:
    """An offset, or a difference of two activations."""
    if not any(isinstance(reader.value(op, number), np.ndarray) for number in (0, 1)):
        other = elementwise(op.what, reader.varying(op, 1), "times", (Fraction(-1),))
        return _sum(reader, op, reader.varying(op, 0), other)
    value, number = _constant(reader, op)
    constant = reader.per_channel(op, number, value)
    if number == 0:
        turned = elementwise(op.what, value, "times", (Fraction(-1),))
        return elementwise(op.what, turned, "plus", constant)
    return elementwise(op.what, value, "plus", tuple(-v for v in constant))


def mul(reader: Reader, op: Operator) -> Value:
    """A factor per channel."""
    if not any(isinstance(reader.value(op, number), np.ndarray) for number in (0, 1)):
        return _product(reader, op, reader.varying(op, 0), reader.varying(op, 1))
    value, number = _constant(reader, op)
    return elementwise(op.what, value, "times", reader.per_channel(op, number, value))


def _product(reader: Reader, op: Operator, a: Value, b: Value) -> Value:
    """The product of two activations, the second of which may be one number per channel."""
    names = op.inputs
    if b.shape != a.shape and a.shape == (b.shape[0], 1, 1):
        a, b, names = b, a, names[::-1]
    if b.shape != (a.shape[0], 1, 1):
        a, b = alike(reader, replace(op, inputs=names), a, b)
    first, second = (
        activation(reader, op.what, value, name) for value, name in zip((a, b), names, strict=True)
    )
    node = Multiply(
        name=reader.free(op.outputs[0]),
        operands=(first.source, second.source),
        acc_bits=ACC_BITS[1],
    )
    step = first.chain.line.scale[0] * second.chain.line.scale[0]
    return Leaf(reader.put(node), a.shape, Chain(line=Line(scale=(step,))))


def div(reader: Reader, op: Operator) -> Value:
    """A factor per channel."""
    value, number = _constant(reader, op)
    divisor = reader.per_channel(op, number, value)
    if number == 0 or 0 in divisor:
        raise GraphError(f"{op.what}: must divide by a constant other than 0")
    return elementwise(op.what, value, "times", tuple(1 / v for v in divisor))


def neg(reader: Reader, op: Operator) -> Value:
    """Minus one as a factor."""
    return elementwise(op.what, reader.varying(op), "times", (Fraction(-1),))


def batch_normalization(reader: Reader, op: Operator) -> Value:
    """A factor and an offset per channel, in float64."""
    if op.attributes.get("training_mode", 0):
        raise GraphError(f"{op.what}: training_mode must be 0; export the network for inference")
    gamma, beta, mean, variance = (
        reader.constant(op, number).astype(np.float64) for number in (1, 2, 3, 4)
    )
    value = reader.varying(op)
    channels = value.shape[0]
    if {v.size for v in (gamma, beta, mean, variance)} != {channels}:
        raise GraphError(f"{op.what}: must have {channels} channels")
    spread = variance + op.number("epsilon", 1e-5)
    if (spread <= 0).any():
        raise GraphError(
            f"{op.what}: variance plus epsilon must be positive, not {spread[spread <= 0][0]:g}"
        )
    centred = elementwise(op.what, value, "plus", tuple(-v for v in fractions(mean)))
    scaled = elementwise(op.what, centred, "times", fractions(gamma / np.sqrt(spread)))
    return elementwise(op.what, scaled, "plus", fractions(beta))


def rounding(mode: str):
    """The reading function of an operator that rounds in one of QONNX's modes."""

    def handler(reader: Reader, op: Operator) -> Value:
        return elementwise(op.what, reader.varying(op), "round", (mode,))

    return handler


def _limited(reader: Reader, op: Operator, value: Value, limits: tuple) -> Value:
    """``value`` within ``limits``. An activation with whole limits becomes a Clip at once."""
    result = elementwise(op.what, value, "clip", (limits,))
    if not isinstance(value, Leaf) or not of_activations(reader, value):
        return result
    line = value.chain.line
    if len(line.scale) > 1 or line.offset != (0,) or line.scale[0] <= 0:
        return result
    ends = [None if limit is None else limit / line.scale[0] for limit in limits]
    if any(end is not None and end.denominator != 1 for end in ends):
        return result
    kind = reader.types[value.source]
    low = kind.low if ends[0] is None else int(max(ends[0], kind.low))
    high = kind.high if ends[1] is None else int(min(ends[1], kind.high))
    if low > kind.high or high < kind.low:
        return result
    node = Clip(name=reader.free(op.outputs[0]), input=value.source, low=low, high=high)
    return replace(value, source=reader.put(node))


def relu(reader: Reader, op: Operator) -> Value:
    """A lower limit of 0."""
    return _limited(reader, op, reader.varying(op), (Fraction(0), None))


def _one(reader: Reader, op: Operator, number: int) -> Fraction | None:
    """A limit as one number; None if it is missing or infinite."""
    if not reader.given(op, number):
        return None
    value = reader.value(op, number)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "f":
        number_ = float(value.reshape(-1)[0])
        if np.isinf(number_):
            return None
    found = fractions(reader.constant(op, number))
    if len(found) != 1:
        raise GraphError(f"{op.what}: limits must be one number")
    return found[0]


def clip(reader: Reader, op: Operator) -> Value:
    """Limits, as inputs or (before opset 11) as attributes; either may be missing."""
    limits = [_one(reader, op, number) for number in (1, 2)]
    for i, name in enumerate(("min", "max")):
        if name in op.attributes:
            number = op.attributes[name]
            if type(number) not in (int, float) or np.isnan(number):
                raise GraphError(f"{op.what}: {name} must be a number, not {number!r}")
            huge = abs(number) >= float(np.finfo(np.float32).max)
            limits[i] = None if huge else Fraction(number)
    if None not in limits and limits[0] > limits[1]:
        limits[0] = limits[1]
    return _limited(reader, op, reader.varying(op), tuple(limits))


def _extreme(reader: Reader, op: Operator, side: str) -> Value:
    value, number = _constant(reader, op)
    limit = _one(reader, op, number)
    limits = (limit, None) if side == "low" else (None, limit)
    return _limited(reader, op, value, limits)


def maximum(reader: Reader, op: Operator) -> Value:
    """A lower limit."""
    return _extreme(reader, op, "low")


def minimum(reader: Reader, op: Operator) -> Value:
    """An upper limit."""
    return _extreme(reader, op, "high")


def identity(reader: Reader, op: Operator):
    """Gives back its operand."""
    return reader.value(op, 0)


def dropout(reader: Reader, op: Operator):
    """Nothing at inference."""
    training = reader.given(op, 2) and bool(np.any(reader.constant(op, 2)))
    # Before opset 7 an attribute says whether the operator is for inference.
    testing = op.attributes.get("is_test", 1) if reader.model.opset < 7 else 1
    if training or not testing:
        raise GraphError(f"{op.what}: must not be in training; export the network for inference")
    return reader.value(op, 0)


def cast(reader: Reader, op: Operator) -> Value:
    """A cast to floating point, or to integers if that changes no value."""
    kind = op.integer("to", 1)
    value = reader.varying(op)
    if kind in _FLOATS:
        return value
    if kind in _WIDE_INTEGERS or kind in _INTEGERS:
        # A cast rounds towards zero, and wraps values that do not fit. Those must not occur.
        result = elementwise(op.what, value, "round", ("DOWN",))
        if kind in _WIDE_INTEGERS:
            return result
        return activation_within(reader, op, result, _INTEGERS[kind])
    raise GraphError(f"{op.what}: to must be float, double or integers, not type {kind}")


def activation_within(reader: Reader, op: Operator, value: Value, limits: tuple[int, int]) -> Value:
    """``value``; refused where it can leave ``limits``."""
    leaf = activation(reader, op.what, value, op.inputs[0])
    span, step = reader.intervals[leaf.source], leaf.chain.line.scale[0]
    if int(span.low.min()) * step < limits[0] or int(span.high.max()) * step > limits[1]:
        raise GraphError(f"{op.what}: values must keep {limits[0]}..{limits[1]}, or they wrap")
    return leaf
