"""Convolutions and products with constant weights."""

from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS, AVG_MULTIPLIER
from nbqnn_train.graph.nodes import AvgPool2d, Conv2d, Linear

from .building import activation, settled
from .lines import Chain, Column, Line, columns
from .model import Operator
from .reader import Reader, fractions
from .values import Leaf, Pad, Value, elementwise
from .weights import Weights, exact_log2, exact_weights, rounded_weights
from .windows import window_of

__all__ = [
    "coded",
    "conv",
    "gemm",
    "kernels",
    "matmul",
    "plus_bias",
    "product",
    "scaled",
    "weights_only",
]


def coded(reader: Reader, what: str, real: np.ndarray) -> Weights:
    """Codes of ``real``; rounded to powers of two if that was asked for."""
    bits = reader.options.round_weights
    if bits is None:
        return exact_weights(what, real)
    try:
        return exact_weights(what, real)
    except GraphError:
        rounded, error = rounded_weights(real, bits)
        reader.notes.append(
            f"{what}: weights rounded to powers of two of {bits} bits, error {error:.1%} of them"
        )
        return exact_weights(what, rounded)


def _checked(reader: Reader, op: Operator, number: int) -> np.ndarray:
    """The weights. They are checked even if the other operand was refused."""
    real = reader.constant(op, number).astype(np.float64)
    if real.size == 0:
        raise GraphError(f"{op.what}: weights must not be empty")
    return real


def kernels(reader: Reader, op: Operator) -> tuple[np.ndarray, int, int]:
    """Weights of a convolution (..., KH, KW), of a series with one row; how many dimensions it has,
    and groups, which divide the first axis."""
    real = _checked(reader, op, 1)
    dimensions = real.ndim - 2
    if dimensions not in (1, 2):
        raise GraphError(f"{op.what}: must have one or two dimensions, not {dimensions}")
    if dimensions == 1:
        real = real[:, :, np.newaxis]
    groups = op.integer("group", 1)
    if groups < 1 or len(real) % groups:
        raise GraphError(f"{op.what}: group must divide the {len(real)} channels, not {groups}")
    return real, dimensions, groups


def scaled(real: np.ndarray, leaf: Leaf, groups: int) -> tuple[np.ndarray, Fraction]:
    """``real`` (Cout, Cin / groups, ...) times the scale of each input channel; a common scale."""
    scale = leaf.chain.line.scale
    if len(scale) == 1:
        return real, scale[0]
    each = np.array([float(s) for s in scale]).reshape(groups, -1)
    column = np.repeat(each, real.shape[0] // groups, axis=0)
    return real * column.reshape(*column.shape, *(1,) * (real.ndim - 2)), Fraction(1)


def _offset(weights: Weights, offset: Column, groups: int) -> Column:
    """What an offset of the input adds to each output channel, in codes of the weights."""
    if offset == (0,):
        return (Fraction(0),)
    codes = weights.codes.reshape(*weights.codes.shape[:2], -1).sum(axis=2)
    outputs, inputs = codes.shape
    entries = offset * (groups * inputs) if len(offset) == 1 else offset
    result = []
    for channel in range(outputs):
        start = channel // (outputs // groups) * inputs
        own = entries[start : start + inputs]
        terms = zip(codes[channel], own, strict=True)
        result.append(sum((int(w) * o for w, o in terms), Fraction(0)))
    return tuple(result)


def product(
    reader: Reader, op: Operator, node, weights: Weights, leaf: Leaf, common: Fraction, groups: int
) -> Value:
    """The sums of ``node`` as real values."""
    name = reader.put(node)
    step = tuple(
        factor * Fraction(2) ** int(exponent)
        for factor, exponent in zip(weights.factor, weights.exponent, strict=True)
    )
    offset = columns(lambda o, s: o * s, _offset(weights, leaf.chain.line.offset, groups), step)
    scale = columns(lambda s: s * common, step)
    return Leaf(name, reader.types[name].shape, Chain(line=Line(scale=scale, offset=offset)))


def plus_bias(reader: Reader, op: Operator, value: Value, number: int, factor: float = 1) -> Value:
    """``value`` plus ``factor`` times input ``number``, where there is one."""
    if not reader.given(op, number) or factor == 0:
        return value
    bias = reader.constant(op, number)
    channels = value.shape[0]
    if bias.size not in (1, channels):
        raise GraphError(f"{op.what}: bias must have {channels} entries, not {bias.size}")
    addend = tuple(b * Fraction(factor) for b in fractions(bias))
    return elementwise(op.what, value, "plus", addend)


def conv(reader: Reader, op: Operator) -> Value:
    """A convolution of maps or series; an average if all of its weights say so."""
    real, dimensions, groups = kernels(reader, op)
    kernel = real.shape[4 - dimensions :]
    average = _average(reader, op, real, groups)
    # Weights come before the input, so that one message names those of all layers.
    if average is None and len(_scale_of(reader, op)) == 1:
        weights_only(reader, op, real)
    value = reader.varying(op)
    outer = (0, 0, 0, 0)
    if isinstance(value, Pad):
        outer, value = value.padding, value.inner
    if len(value.shape) != 3:
        return _conv_of_vector(reader, op, value, real, groups)
    size = (value.shape[1] + outer[0] + outer[2], value.shape[2] + outer[1] + outer[3])
    window = window_of(op, size, kernel, dimensions)
    padding = tuple(a + b for a, b in zip(outer, window.padding, strict=True))
    if value.shape[0] != real.shape[1] * groups:
        raise GraphError(
            f"{op.what}: weights take {real.shape[1] * groups} channels, not {value.shape[0]}"
        )
    leaf = settled(reader, op.what, value, op.inputs[0])
    if any(padding) and leaf.chain.line.offset != (0,):
        leaf = activation(reader, op.what, value, op.inputs[0])
    geometry = {"stride": window.stride, "padding": padding}
    if average is not None and window.dilation == (1, 1) and len(leaf.chain.line.scale) == 1:
        return _averaged(reader, op, leaf, window.kernel, average, geometry)
    real, common = scaled(real, leaf, groups)
    weights = coded(reader, op.what, real)
    node = Conv2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        weight=weights.codes,
        weight_bits=weights.bits,
        weight_exponent=weights.exponent,
        dilation=window.dilation,
        groups=groups,
        acc_bits=ACC_BITS[1],
        **geometry,
    )
    result = product(reader, op, node, weights, leaf, common, groups)
    return plus_bias(reader, op, result, 2)


def _scale_of(reader: Reader, op: Operator) -> Column:
    value = reader.values.get(op.inputs[0])
    if isinstance(value, Leaf):
        return value.chain.line.scale
    return (Fraction(1),)


def weights_only(reader: Reader, op: Operator, real: np.ndarray) -> None:
    """Refuses weights that are no powers of two, unless they are to be rounded."""
    if reader.options.round_weights is None:
        exact_weights(op.what, real)


def _averaged(reader, op, leaf: Leaf, kernel, average: tuple[int, int], geometry) -> Leaf:
    node = AvgPool2d(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        kernel=tuple(kernel),
        acc_bits=ACC_BITS[1],
        multiplier=average[0],
        shift=average[1],
        **geometry,
    )
    name = reader.put(node)
    line = leaf.chain.line
    total = Fraction(average[0] * kernel[0] * kernel[1], 1 << average[1])
    line = Line(
        scale=tuple(s / (1 << average[1]) for s in line.scale),
        offset=tuple(o * total for o in line.offset),
    )
    return Leaf(name, reader.types[name].shape, Chain(line=line))


def _average(reader: Reader, op: Operator, real: np.ndarray, groups: int) -> tuple[int, int] | None:
    """Multiplier and shift if the convolution is an average whose weight is no power of two."""
    value = Fraction(float(real.reshape(-1)[0]))
    depthwise = groups == real.shape[0] and real.shape[1] == 1
    same = (real == real.reshape(-1)[0]).all() and not reader.given(op, 2)
    if not depthwise or not same or value <= 0 or exact_log2(value) is not None:
        return None
    shift = value.denominator.bit_length() - 1
    if value.numerator > AVG_MULTIPLIER[1] or shift > 31:
        return None
    return value.numerator, shift


def _conv_of_vector(reader: Reader, op: Operator, value: Value, real, groups: int) -> Value:
    """A convolution of a map of one position, which the graph holds as a vector."""
    pads = any(op.integers("pads", ()))
    if real.shape[2:] != (1, 1) or groups != 1 or pads:
        raise GraphError(f"{op.what}: a vector must have a kernel of 1 x 1 and one group")
    result = _linear(reader, op, value, op.inputs[0], real[:, :, 0, 0])
    return plus_bias(reader, op, result, 2)


def _linear(reader: Reader, op: Operator, value: Value, name: str, real: np.ndarray) -> Value:
    """Weights ``real`` (Fout, Fin) times a vector."""
    if len(value.shape) == 3 and value.shape[1:] != (1, 1):
        raise GraphError(
            f"{op.what}: input must be vectors (N, F), not maps {value.shape}: flatten them before"
        )
    leaf = settled(reader, op.what, value, name)
    if len(leaf.shape) == 3:
        raise GraphError(f"{op.what}: input must be vectors (N, F): flatten {leaf.shape} before")
    if leaf.shape != (real.shape[1],):
        raise GraphError(f"{op.what}: weights take {real.shape[1]} features, not {leaf.shape[0]}")
    real, common = scaled(real, leaf, 1)
    weights = coded(reader, op.what, real)
    node = Linear(
        name=reader.free(op.outputs[0]),
        input=leaf.source,
        weight=weights.codes,
        weight_bits=weights.bits,
        weight_exponent=weights.exponent,
        acc_bits=ACC_BITS[1],
    )
    return product(reader, op, node, weights, leaf, common, 1)


def _matrix(reader: Reader, op: Operator) -> tuple[int, np.ndarray]:
    """The place of the weights among the operands, and the weights."""
    for number in (1, 0):
        name = op.inputs[number] if number < len(op.inputs) else ""
        if isinstance(reader.values.get(name), np.ndarray):
            real = _checked(reader, op, number)
            while real.ndim > 2 and real.shape[0] == 1:
                real = real[0]
            if real.ndim != 2:
                raise GraphError(f"{op.what}: weights must have two dimensions, not {real.ndim}")
            return number, real
    reader.varying(op, 0)
    reader.varying(op, 1)
    raise GraphError(
        f"{op.what}: one operand must be constant; products of two activations are not supported"
    )


def gemm(reader: Reader, op: Operator) -> Value:
    """A linear layer, times ``alpha``, plus ``beta`` times a bias."""
    number, real = _matrix(reader, op)
    turned = [op.integer("transA", 0), op.integer("transB", 0)]
    shape = reader.model_shape(op.inputs[1 - number], reader.varying(op, 1 - number))
    images = shape[number != 1] if turned[1 - number] == 0 else shape[number == 1]
    if len(shape) == 2 and images != 1:
        side = "AB"[1 - number]
        raise GraphError(
            f"{op.what}: trans{side} must be {1 - turned[1 - number]} for the shape {shape} of "
            f"{op.inputs[1 - number]!r}, not {turned[1 - number]}"
        )
    # Rows of our weights are outputs. In A' B' with weights B' outputs are columns.
    real = real.T if (number == 1) != bool(turned[number]) else real
    alpha, beta = op.number("alpha", 1.0), op.number("beta", 1.0)
    weights_only(reader, op, real)
    value = reader.varying(op, 1 - number)
    result = _linear(reader, op, value, op.inputs[1 - number], real)
    if alpha != 1:
        result = elementwise(op.what, result, "times", (Fraction(alpha),))
    return plus_bias(reader, op, result, 2, beta)


def matmul(reader: Reader, op: Operator) -> Value:
    """A linear layer without a bias; weights (Fin, Fout), or (Fout, Fin) where they come first."""
    number, real = _matrix(reader, op)
    real = real.T if number == 1 else real
    weights_only(reader, op, real)
    value = reader.varying(op, 1 - number)
    return _linear(reader, op, value, op.inputs[1 - number], real)
