"""Operators element by element: offsets, factors, limits, and the sum of two tensors."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.nodes import Add, Clip

from .affine import Affine
from .model import Operator
from .reader import Reader, fractions

__all__ = ["add", "batch_normalization", "clip", "div", "floor", "identity", "mul", "relu", "sub"]


def _operands(reader: Reader, op: Operator) -> tuple[Affine, list[Fraction], bool]:
    """The operand that varies, the constant one per channel, whether that comes first."""
    if not any(isinstance(reader.value(op, number), np.ndarray) for number in (0, 1)):
        raise GraphError(
            f"{op.what}: both operands must be results of a Quant, or one must be constant"
        )
    first = isinstance(reader.value(op, 0), np.ndarray)
    affine = reader.affine(op, int(first))
    constant = reader.constant(op, int(not first))
    return affine, reader.per_channel(op, constant, len(affine.scale)), first


def add(reader: Reader, op: Operator):
    """A sum of two activations, or an offset."""
    if all(isinstance(reader.value(op, number), str) for number in (0, 1)):
        a, b = reader.activation(op, 0), reader.activation(op, 1)
        exponents = reader.types[a].exponent, reader.types[b].exponent
        shifts = tuple(e - min(exponents) for e in exponents)
        node = Add(name=op.outputs[0], operands=(a, b), shifts=shifts, acc_bits=ACC_BITS[1])
        return reader.reals(reader.put(node))
    affine, addend, _ = _operands(reader, op)
    return affine.plus(op.what, addend)


def sub(reader: Reader, op: Operator) -> Affine:
    """An offset."""
    affine, addend, first = _operands(reader, op)
    if first:
        minus = [Fraction(-1)] * len(addend)
        return affine.times(op.what, minus).plus(op.what, addend)
    return affine.plus(op.what, [-v for v in addend])


def mul(reader: Reader, op: Operator) -> Affine:
    """A factor per channel."""
    affine, factor, _ = _operands(reader, op)
    return affine.times(op.what, factor)


def div(reader: Reader, op: Operator) -> Affine:
    """A factor per channel."""
    affine, divisor, first = _operands(reader, op)
    if first or 0 in divisor:
        raise GraphError(f"{op.what}: must divide by a constant other than 0")
    return affine.times(op.what, [1 / v for v in divisor])


def batch_normalization(reader: Reader, op: Operator) -> Affine:
    """A factor and an offset per channel, in float64."""
    gamma, beta, mean, variance = (
        reader.constant(op, number).astype(np.float64) for number in (1, 2, 3, 4)
    )
    affine = reader.affine(op)
    if {v.size for v in (gamma, beta, mean, variance)} != {len(affine.scale)}:
        raise GraphError(f"{op.what}: must have {len(affine.scale)} channels")
    factor = gamma / np.sqrt(variance + op.number("epsilon", 1e-5))
    scaled = affine.plus(op.what, [-v for v in fractions(mean)])
    return scaled.times(op.what, fractions(factor)).plus(op.what, fractions(beta))


def floor(reader: Reader, op: Operator) -> Affine:
    """Rounding down, before a Quant that only states the format."""
    return reader.affine(op).floor(op.what)


def relu(reader: Reader, op: Operator):
    """A lower limit of 0."""
    value = reader.value(op, 0)
    if isinstance(value, str):
        high = reader.types[value].high
        return reader.put(Clip(name=op.outputs[0], input=value, low=0, high=high))
    return replace(reader.affine(op), relu=True)


def clip(reader: Reader, op: Operator):
    """Limits in whole steps."""
    value = reader.value(op, 0)
    low, high = (fractions(reader.constant(op, number))[0] for number in (1, 2))
    if not isinstance(value, str):
        return reader.affine(op).clip(op.what, low, high)
    code = reader.types[value]
    step = Fraction(2) ** code.exponent
    if (low / step).denominator != 1 or (high / step).denominator != 1:
        raise GraphError(f"{op.what}: limits must be multiples of {float(step)}")
    low, high = max(int(low / step), code.low), min(int(high / step), code.high)
    return reader.put(Clip(name=op.outputs[0], input=value, low=low, high=high))


def identity(reader: Reader, op: Operator):
    """Identity, and what is one at inference."""
    return reader.value(op, 0)
