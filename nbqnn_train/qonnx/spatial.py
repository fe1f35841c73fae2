"""Pooling, concatenation and flattening."""

from dataclasses import replace
from fractions import Fraction
from math import prod

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.nodes import AvgPool2d, Concat, Flatten, MaxPool2d

from .affine import Affine
from .model import Operator
from .reader import Reader

__all__ = ["average_pool", "concat", "flatten", "global_average_pool", "max_pool", "reshape"]


def _window(reader: Reader, op: Operator) -> dict:
    if op.integer("ceil_mode", 0) or any(d != 1 for d in op.integers("dilations", ())):
        raise GraphError(f"{op.what}: ceil_mode and dilations are not supported")
    if op.text("auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise GraphError(f"{op.what}: auto_pad must be NOTSET")
    return {
        "kernel": op.integers("kernel_shape"),
        "stride": op.integers("strides", (1, 1)),
        "padding": op.integers("pads", (0, 0, 0, 0)),
    }


def max_pool(reader: Reader, op: Operator) -> str:
    """Maximum of quantized values."""
    source = reader.activation(op)
    return reader.put(MaxPool2d(name=op.outputs[0], input=source, **_window(reader, op)))


def average_pool(reader: Reader, op: Operator) -> Affine:
    """Sums, and one over the size of the window as a factor."""
    window = _window(reader, op)
    if any(window["padding"]) and not op.integer("count_include_pad", 0):
        raise GraphError(f"{op.what}: padding must be counted (count_include_pad = 1)")
    return _mean(reader, op, window)


def global_average_pool(reader: Reader, op: Operator) -> Affine:
    """The average of the whole map."""
    return _mean(reader, op, {"kernel": reader.shape(op)[1:], "stride": (1, 1)})


def _mean(reader: Reader, op: Operator, window: dict) -> Affine:
    node = AvgPool2d(
        name=op.outputs[0],
        input=reader.activation(op),
        multiplier=1,
        shift=0,
        acc_bits=ACC_BITS[1],
        **window,
    )
    affine = reader.reals(reader.put(node))
    return affine.times(op.what, [Fraction(1, prod(window["kernel"]))] * len(affine.scale))


def concat(reader: Reader, op: Operator) -> str:
    """Activations of one format."""
    if op.integer("axis") != 1:
        raise GraphError(f"{op.what}: axis must be 1")
    operands = tuple(reader.activation(op, number) for number in range(len(op.inputs)))
    return reader.put(Concat(name=op.outputs[0], operands=operands))


def flatten(reader: Reader, op: Operator) -> str:
    """(C, H, W) to (C*H*W,); nothing for vectors."""
    if op.integer("axis", 1) != 1:
        raise GraphError(f"{op.what}: axis must be 1")
    source = reader.activation(op)
    if len(reader.types[source].shape) == 1:
        return source
    return reader.put(Flatten(name=op.outputs[0], input=source))


def reshape(reader: Reader, op: Operator) -> str:
    """Where it is a flatten."""
    shape = reader.types[reader.activation(op)].shape
    target = reader.constant(op, 1).reshape(-1).tolist()
    if len(target) != 2 or target[1] not in (-1, prod(shape)):
        raise GraphError(f"{op.what}: must flatten {shape}, not reshape to {target}")
    return flatten(reader, replace(op, attributes={}))
