"""Transposed convolutions with constant weights."""

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.operators import ConvTranspose2d

from .building import activation
from .model import Operator
from .reader import Reader
from .sums import coded, kernels, plus_bias, product, scaled, weights_only
from .values import Value
from .windows import transposed_sides

__all__ = ["conv_transpose"]


def conv_transpose(reader: Reader, op: Operator) -> Value:
    """A transposed convolution of maps or series."""
    real, dimensions, groups = kernels(reader, op)
    inputs, outputs, *kernel = real.shape
    real = real.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    real = real.reshape(groups * outputs, inputs // groups, *kernel)
    weights_only(reader, op, real)
    value = reader.varying(op)
    if len(value.shape) != 3 or value.shape[0] != inputs:
        raise GraphError(f"{op.what}: weights take maps of {inputs} channels, not {value.shape}")
    leaf = activation(reader, op.what, value, op.inputs[0])
    stride, dilation, sides = transposed_sides(op, leaf.shape[1:], tuple(kernel), dimensions)
    real, common = scaled(real, leaf, groups)
    weights = coded(reader, op.what, real)
    node = ConvTranspose2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        weight=weights.codes,
        weight_bits=weights.bits,
        weight_exponent=weights.exponent,
        stride=stride,
        padding=(sides[0].before, sides[1].before, sides[0].behind, sides[1].behind),
        output_padding=(sides[0].more, sides[1].more),
        dilation=dilation,
        groups=groups,
        acc_bits=ACC_BITS[1],
    )
    result = product(reader, op, node, weights, leaf, common, groups)
    return plus_bias(reader, op, result, 2)
