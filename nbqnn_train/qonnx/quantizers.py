"""Quant: the operator that becomes an Input, a Requantize or a Clip, or folds into weights."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import (
    ACT_BITS,
    ADD_SHIFT,
    EXPONENT,
    MULTIPLIER,
    WEIGHT_BITS,
    max_weight,
)
from nbqnn_train.graph.nodes import Add, Clip, Conv2d, Input, Linear, Requantize

from .affine import Affine, integer_rule
from .model import Operator
from .reader import Reader
from .weights import power_of_two

__all__ = ["quant"]

_NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP")


def quant(reader: Reader, op: Operator):
    """A quantizer of weights, of an input, or of what is computed within the network."""
    scale, zero, bits = (reader.constant(op, number) for number in (1, 2, 3))
    if np.any(zero != 0):
        raise GraphError(f"{op.what}: zero point must be 0, not {float(zero.reshape(-1)[0])}")
    if bits.size != 1 or float(bits.reshape(-1)[0]) != int(bits.reshape(-1)[0]):
        raise GraphError(f"{op.what}: bit width must be one integer")
    bits = int(bits.reshape(-1)[0])
    if not 1 <= bits <= 32:
        raise GraphError(f"{op.what}: bit width must be in 1..32, not {bits}")
    if np.any(scale <= 0):
        raise GraphError(f"{op.what}: scale must be positive")
    signed, narrow = bool(op.integer("signed", 1)), bool(op.integer("narrow", 1))
    low = -(1 << bits - 1) + narrow if signed else 0
    high = (1 << bits - int(signed)) - 1 - (narrow and not signed)
    mode = op.text("rounding_mode", "ROUND")
    value = reader.value(op, 0)
    if isinstance(value, np.ndarray):
        return _quantized_constant(reader, op, scale, low, high, mode)
    if not ACT_BITS[0] <= bits <= ACT_BITS[1]:
        raise GraphError(
            f"{op.what}: activations must have {ACT_BITS[0]}..{ACT_BITS[1]} bits, not {bits}"
        )
    step = Fraction(float(scale.reshape(-1)[0]))
    exponent = power_of_two(step)
    if scale.size != 1 or exponent is None or not EXPONENT[0] <= exponent <= EXPONENT[1]:
        raise GraphError(
            f"{op.what}: scale of an activation must be one power of two, not {float(step)}"
        )
    form = {"bits": bits, "signed": signed, "exponent": exponent}
    affine = reader.affine(op)
    if affine.real:
        return _quantized_input(reader, op, affine, mode, form, low, high)
    return _requantized(reader, op, affine, mode, form, low, high)


def _quantized_constant(reader: Reader, op: Operator, scale, low, high, mode) -> np.ndarray:
    real = reader.constant(op, 0).astype(np.float64)
    steps = real / scale.astype(np.float64)
    rounding = {
        "ROUND": np.round,
        "HALF_EVEN": np.round,
        "FLOOR": np.floor,
        "CEIL": np.ceil,
        "DOWN": np.trunc,
        "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    }
    if mode not in rounding:
        raise GraphError(f"{op.what}: rounding mode {mode!r} is not supported")
    reader.steps[op.outputs[0]] = scale.astype(np.float64)
    return rounding[mode](np.clip(steps, low, high)) * scale.astype(np.float64)


def _rounded(
    reader: Reader, op: Operator, affine: Affine, mode: str, form: dict
) -> tuple[Affine, bool]:
    """The affine map in output steps, and whether it is rounded to the nearest integer."""
    step = Fraction(2) ** form["exponent"]
    if affine.floored is not None:
        if affine.floored != step:
            raise GraphError(
                f"{op.what}: scale {float(step)} must be the {float(affine.floored)} that "
                "follows the Floor"
            )
        return affine, False
    steps = replace(
        affine,
        scale=tuple(v / step for v in affine.scale),
        offset=tuple(v / step for v in affine.offset),
    )
    if mode not in (*_NEAREST, "FLOOR"):
        raise GraphError(f"{op.what}: rounding mode {mode!r} is not supported")
    return steps, mode in _NEAREST


def _quantized_input(
    reader: Reader, op: Operator, affine: Affine, mode: str, form: dict, low, high
) -> str:
    name = affine.source
    affine, nearest = _rounded(reader, op, affine, mode, form)
    wanted = Fraction(0) if nearest else Fraction(1, 2)
    exact_mode = not nearest or (mode == "HALF_UP" and not form["signed"])
    if reader.exact and not exact_mode:
        raise GraphError(
            f"{op.what}: ties of the input go to even or away from zero in the model and up in "
            "the graph; import with exact=False (--approximate) to accept that"
        )
    scales = {s * Fraction(2) ** form["exponent"] for s in affine.scale}
    if scales != {Fraction(1)} or set(affine.offset) != {wanted}:
        raise GraphError(
            f"{op.what}: input {name!r} must be quantized as it is, to the nearest step"
        )
    node = Input(name=name, shape=reader.model.inputs[name], **form)
    if name not in reader.nodes:
        reader.put(node)
    elif reader.nodes[name] != node:
        raise GraphError(f"{op.what}: input {name!r} must be quantized in one way only")
    return _limited(reader, op, name, affine, low, high)


def _limited(reader: Reader, op: Operator, name: str, affine: Affine, low: int, high: int) -> str:
    """A Clip after ``name`` where its limits are tighter than the format."""
    low, high = _limits(affine, low, high)
    code = reader.types[name]
    if (low, high) == (code.low, code.high):
        return name
    return reader.put(Clip(name=op.outputs[0], input=name, low=low, high=high))


def _requantized(
    reader: Reader, op: Operator, affine: Affine, mode: str, form: dict, low, high
) -> str:
    affine, nearest = _rounded(reader, op, affine, mode, form)
    low, high = _limits(affine, low, high)
    if affine.source in reader.changed:
        raise GraphError(
            f"{op.what}: another Quant reads the sums of {affine.source!r} too, and takes a sign "
            "or a factor into its weights; this is not supported"
        )
    scale = _limited_scale(reader, affine, _positive(reader, op, affine))
    # Within the graph, codes stand for scale; reals() has put the step into it.
    multiplier, bias, shift = integer_rule(
        op.what, scale, list(affine.offset), nearest, reader.exact
    )
    reader.requantized.add(affine.source)
    return reader.put(
        Requantize(
            name=op.outputs[0],
            input=affine.source,
            multiplier=multiplier,
            bias=bias,
            shift=shift,
            low=low,
            high=high,
            **form,
        )
    )


def _positive(reader: Reader, op: Operator, affine: Affine) -> list[Fraction]:
    """Scales made positive: their signs, and zeros, go into the weights of the layer before."""
    if min(affine.scale) > 0:
        return list(affine.scale)
    node = reader.nodes[affine.source]
    if not isinstance(node, (Conv2d, Linear)) or node.name in reader.requantized:
        channel = next(i for i, s in enumerate(affine.scale) if s <= 0)
        raise GraphError(
            f"{op.what}: scale of channel {channel} must be positive, "
            f"not {float(affine.scale[channel])}"
        )
    sign = np.array([(s > 0) - (s < 0) for s in affine.scale])
    weight = node.weight * sign.reshape(-1, *(1,) * (node.weight.ndim - 1))
    reader.change(replace(node, weight=weight))
    return [abs(s) if s else Fraction(1) for s in affine.scale]


def _limits(affine: Affine, low: int, high: int) -> tuple[int, int]:
    """The quantizer's limits, narrowed by a Clip or Relu before it."""
    if affine.low is not None:
        low, high = max(low, affine.low), min(high, affine.high)
    return (max(low, 0), high) if affine.relu else (low, high)


def _limited_scale(reader: Reader, affine: Affine, scale: list[Fraction]) -> list[Fraction]:
    """Scales with what multipliers cannot hold put into the weights or shifts of the sum before."""
    node = reader.nodes[affine.source]
    # A Requantize that rounds needs a shift, and so twice the multiplier.
    largest = MULTIPLIER[1] // 2
    powers = [0] * len(scale)
    for channel, value in enumerate(scale):
        while value / (1 << powers[channel]) > largest:
            powers[channel] += 1
    if not any(powers) or node.name in reader.requantized:
        return scale
    if isinstance(node, (Conv2d, Linear)):
        changed = _scaled_weights(node, powers)
    elif isinstance(node, Add):
        powers = [max(powers)] * len(scale)
        changed = replace(node, shifts=tuple(shift + powers[0] for shift in node.shifts))
        changed = None if max(changed.shifts) > ADD_SHIFT[1] else changed
    else:
        changed = None
    if changed is None:
        return scale
    reader.change(changed)
    return [value / (1 << power) for value, power in zip(scale, powers, strict=True)]


def _scaled_weights(node: Conv2d | Linear, powers: list[int]) -> Conv2d | Linear | None:
    """``node`` with weights times ``2**power`` per channel on finer steps; None if too large."""
    weight = node.weight << np.array(powers).reshape(-1, *(1,) * (node.weight.ndim - 1))
    top = int(np.abs(weight).max())
    for bits in range(node.weight_bits, WEIGHT_BITS[1] + 1):
        if top <= max_weight(bits):
            exponent = node.weight_exponent - np.array(powers)
            return replace(node, weight=weight, weight_bits=bits, weight_exponent=exponent)
    return None
