"""Convolutions and products with constant weights."""

from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS, AVG_MULTIPLIER
from nbqnn_train.graph.nodes import AvgPool2d, Conv2d, Linear, Node

from .affine import Affine
from .model import Operator
from .reader import Reader, fractions
from .weights import power_of_two, weight_codes

__all__ = ["conv", "gemm", "matmul"]


def _weights(reader: Reader, op: Operator, axis: int) -> tuple[np.ndarray, np.ndarray, int, list]:
    """Codes, exponents and bits of constant 1, output channels first, and a factor for each."""
    real = np.moveaxis(reader.constant(op, 1).astype(np.float64), axis, 0)
    step = reader.steps.get(op.inputs[1], np.float64(1))
    step = np.broadcast_to(step, reader.constant(op, 1).shape)
    step = np.moveaxis(step, axis, 0).reshape(len(real), -1)
    if (step != step[:, :1]).any():
        raise GraphError(f"{op.what}: weights of one output channel must have one step")
    # A step may be any number: what is no power of two of it goes into the requantizer.
    column = step[:, 0].reshape(-1, *(1,) * (real.ndim - 1))
    codes = np.round(real / column) if op.inputs[1] in reader.steps else real
    weight, exponent, bits = weight_codes(op.what, codes)
    mantissa, power = np.frexp(step[:, 0])
    factor = [Fraction(float(m)) * 2 for m in mantissa]
    return weight, exponent + power - 1, bits, factor


def _weighted(reader: Reader, op: Operator, node: Node, factor: list, bias: list) -> Affine:
    name = reader.put(node)
    result = reader.reals(name).times(op.what, factor)
    return result.plus(op.what, bias)


def conv(reader: Reader, op: Operator) -> Affine:
    """A convolution, or an average where that is what its weights are."""
    source = reader.activation(op)
    if op.text("auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise GraphError(f"{op.what}: auto_pad must be NOTSET")
    if reader.constant(op, 1).ndim != 4:
        raise GraphError(f"{op.what}: must be two-dimensional")
    geometry = {
        "stride": op.integers("strides", (1, 1)),
        "padding": op.integers("pads", (0, 0, 0, 0)),
    }
    dilation = op.integers("dilations", (1, 1))
    groups = op.integer("group", 1)
    average = _average(reader, op, source, groups)
    if average is not None and dilation == (1, 1):
        kernel = reader.constant(op, 1).shape[2:]
        node = AvgPool2d(
            name=op.outputs[0],
            input=source,
            kernel=kernel,
            acc_bits=ACC_BITS[1],
            **average,
            **geometry,
        )
        return reader.reals(reader.put(node))
    weight, exponent, bits, factor = _weights(reader, op, 0)
    node = Conv2d(
        name=op.outputs[0],
        input=source,
        weight=weight,
        weight_bits=bits,
        weight_exponent=exponent,
        dilation=dilation,
        groups=groups,
        acc_bits=ACC_BITS[1],
        **geometry,
    )
    return _weighted(reader, op, node, factor, _bias(reader, op, len(weight)))


def _average(reader: Reader, op: Operator, source: str, groups: int) -> dict | None:
    """Multiplier and shift where the convolution is an average that no power of two holds."""
    weight = reader.constant(op, 1)
    value = Fraction(float(weight.reshape(-1)[0]))
    depthwise = groups == weight.shape[0] == reader.types[source].shape[0]
    same = (weight == weight.reshape(-1)[0]).all() and len(op.inputs) == 2
    if not depthwise or not same or value <= 0 or power_of_two(value) is not None:
        return None
    shift = value.denominator.bit_length() - 1
    if value.numerator > AVG_MULTIPLIER[1] or value.denominator != 1 << shift:
        return None
    return {"multiplier": value.numerator, "shift": shift}


def _bias(reader: Reader, op: Operator, channels: int) -> list[Fraction]:
    if len(op.inputs) < 3 or not op.inputs[2]:
        return [Fraction(0)] * channels
    bias = reader.constant(op, 2)
    if bias.size not in (1, channels):
        raise GraphError(f"{op.what}: bias must have {channels} entries, not {bias.size}")
    return fractions(np.broadcast_to(bias.reshape(-1), channels))


def _linear(reader: Reader, op: Operator, axis: int) -> Affine:
    source = reader.activation(op)
    if reader.constant(op, 1).ndim != 2:
        raise GraphError(f"{op.what}: weights must have two dimensions")
    weight, exponent, bits, factor = _weights(reader, op, axis)
    node = Linear(
        name=op.outputs[0],
        input=source,
        weight=weight,
        weight_bits=bits,
        weight_exponent=exponent,
        acc_bits=ACC_BITS[1],
    )
    return _weighted(reader, op, node, factor, _bias(reader, op, len(weight)))


def gemm(reader: Reader, op: Operator) -> Affine:
    """A linear layer."""
    for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if op.attributes.get(name, wanted) != wanted:
            raise GraphError(f"{op.what}: {name} must be {wanted}")
    return _linear(reader, op, 0 if op.integer("transB", 0) else 1)


def matmul(reader: Reader, op: Operator) -> Affine:
    """A linear layer without a bias; weights (Fin, Fout)."""
    return _linear(reader, op, 1)
