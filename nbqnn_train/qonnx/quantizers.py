"""Operators that quantize: Quant, BipolarQuant, Trunc, and ONNX's own pair."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError

from .building import Format, format_of, quantized
from .lines import Chain, Column, Line
from .model import Operator
from .reader import Reader, fractions
from .staircase import MODES
from .values import Leaf, Value, elementwise

__all__ = ["bipolar_quant", "dequantize_linear", "quant", "quantize_linear", "trunc"]


def _mode(op: Operator, default: str) -> str:
    mode = op.text("rounding_mode", default)
    if mode not in MODES or mode == "BIPOLAR":
        known = ", ".join(name for name in MODES if name != "BIPOLAR")
        raise GraphError(f"{op.what}: rounding mode must be one of {known}, not {mode!r:.80}")
    return mode


def _bits(reader: Reader, op: Operator, number: int) -> int:
    bits = fractions(reader.constant(op, number))
    if len(bits) != 1 or bits[0].denominator != 1:
        given = f"{len(bits)} numbers" if len(bits) != 1 else f"{float(bits[0]):g}"
        raise GraphError(f"{op.what}: bit width must be one integer, not {given}")
    if not 1 <= bits[0] <= 32:
        raise GraphError(f"{op.what}: bit width must be in 1..32, not {bits[0]}")
    return int(bits[0])


def _zero(reader: Reader, op: Operator, number: int) -> int:
    """The zero point: one integer."""
    if not reader.given(op, number):
        return 0
    zero = fractions(reader.constant(op, number))
    if len(zero) != 1 or zero[0].denominator != 1:
        raise GraphError(f"{op.what}: zero point must be one integer, not {float(zero[0])}")
    return int(zero[0])


def _step(
    reader: Reader, op: Operator, number: int, value: Value, axis: int | None = None
) -> Column:
    """The scale: one number, or one per channel.

    axis : along which a vector of scales goes, as ONNX's own operators say it; without one it is
        broadcast from behind, as QONNX does.
    """
    scale = reader.constant(op, number)
    if np.any(scale <= 0):
        raise GraphError(f"{op.what}: scale must be positive, not {scale[scale <= 0][0]:g}")
    if axis is None or scale.ndim != 1 or scale.size == 1:
        return reader.per_channel(op, number, value)
    rank = len(reader.model_shape(op.inputs[0], value))
    if (axis + rank if axis < 0 else axis) != 1 or scale.size != value.shape[0]:
        raise GraphError(
            f"{op.what}: scale must be one number, or one for each of {value.shape[0]} channels "
            f"along axis 1, not {scale.size} along axis {axis}"
        )
    return fractions(scale)


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def quant(reader: Reader, op: Operator) -> Value:
    """A quantizer of an input, or of what is computed within the network."""
    value = reader.varying(op)
    bits, zero = _bits(reader, op, 3), _zero(reader, op, 2)
    signed, narrow = bool(op.integer("signed", 1)), bool(op.integer("narrow", 1))
    mode = _mode(op, "ROUND")
    step = _step(reader, op, 1, value)
    if bits == 1 and signed:
        if zero:
            raise GraphError(f"{op.what}: zero point must be 0 with one bit, not {zero}")
        return quantized(reader, op.what, value, _two(step), "BIPOLAR", op.outputs[0])
    low, high = _limits(bits, signed, narrow)
    return _quantized(reader, op, value, step, (low, high), zero, mode, signed, bits)


def _two(step: Column) -> Format:
    return Format(step, -1, 1, 2, True)


def _quantized(
    reader: Reader,
    op: Operator,
    value: Value,
    step: Column,
    limits: tuple[int, int],
    zero: int,
    mode: str,
    signed: bool,
    bits: int,
) -> Value:
    """Codes less the zero point, times the step."""
    low, high = limits
    if low == high:
        raise GraphError(f"{op.what}: {bits} bits must hold more than the value {low}")
    if zero == 0:
        form = Format(step, low, high, max(bits, 2), signed)
        return quantized(reader, op.what, value, form, mode, op.outputs[0])
    if (zero % 2 and mode in ("ROUND", "HALF_EVEN")) or mode in (
        "HALF_UP",
        "HALF_DOWN",
        "UP",
        "DOWN",
    ):
        return _around_zero(reader, op, value, step, limits, zero, mode)
    form = format_of(step, low - zero, high - zero)
    return quantized(reader, op.what, value, form, mode, op.outputs[0])


def _around_zero(reader, op, value: Value, step: Column, limits, zero: int, mode: str) -> Value:
    """As :func:`_quantized`, where it matters whether the zero point is added before rounding."""
    steps = elementwise(op.what, value, "times", tuple(1 / s for s in step))
    moved = elementwise(op.what, steps, "plus", (Fraction(zero),))
    codes = elementwise(op.what, moved, "round", (mode,))
    back = elementwise(op.what, codes, "plus", (Fraction(-zero),))
    form = format_of((Fraction(1),), limits[0] - zero, limits[1] - zero)
    leaf = quantized(reader, op.what, back, form, "FLOOR", op.outputs[0])
    return replace(leaf, chain=Chain(line=Line(scale=step)))


def bipolar_quant(reader: Reader, op: Operator) -> Value:
    """Plus or minus the scale."""
    value = reader.varying(op)
    step = _step(reader, op, 1, value)
    return quantized(reader, op.what, value, _two(step), "BIPOLAR", op.outputs[0])


def trunc(reader: Reader, op: Operator) -> Value:
    """Codes without their lowest bits."""
    value = reader.varying(op)
    zero = _zero(reader, op, 2)
    if zero:
        raise GraphError(f"{op.what}: zero point must be 0, not {zero}")
    step = _step(reader, op, 1, value)
    if len(step) != 1:
        raise GraphError(f"{op.what}: scale must be one number")
    mode = _mode(op, "FLOOR")
    before = _bits(reader, op, 3)
    codes = elementwise(op.what, value, "times", (1 / step[0],))
    codes = elementwise(op.what, codes, "round", ("ROUND",))
    if len(op.inputs) > 5:
        return _trunc_to_scale(reader, op, codes, step[0], mode)
    after = _bits(reader, op, 4)
    if after > before:
        raise GraphError(f"{op.what}: must leave at most the {before} bits there are, not {after}")
    codes = elementwise(op.what, codes, "times", (Fraction(1, 1 << (before - after)),))
    codes = elementwise(op.what, codes, "round", (mode,))
    return elementwise(op.what, codes, "times", step)


def _trunc_to_scale(reader: Reader, op: Operator, codes: Value, step: Fraction, mode: str) -> Value:
    """The second version: to a scale and limits of its own."""
    scale = fractions(reader.constant(op, 4))
    bits = _bits(reader, op, 5)
    ratio = scale[0] / step
    power = ratio.numerator.bit_length() - ratio.denominator.bit_length()
    if len(scale) != 1 or scale[0] <= 0 or ratio != Fraction(2) ** power:
        raise GraphError(
            f"{op.what}: output scale must be a power of two times {float(step):g}, not "
            f"{float(scale[0]):g}"
        )
    signed, narrow = bool(op.integer("signed", 1)), bool(op.integer("narrow", 0))
    low, high = _limits(bits, signed, narrow)
    codes = elementwise(op.what, codes, "times", (1 / ratio,))
    form = Format((Fraction(1),), low, high, max(bits, 2), signed)
    leaf = quantized(reader, op.what, codes, form, mode, op.outputs[0])
    return replace(leaf, chain=Chain(line=Line(scale=scale)))


_RANGES = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
}
#: Values of ``output_dtype``.
_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}


def quantize_linear(reader: Reader, op: Operator) -> Value:
    """Integers of ONNX's own quantizer: codes plus the zero point."""
    value = reader.varying(op)
    if op.integer("block_size", 0):
        raise GraphError(f"{op.what}: block_size must be 0")
    step = _step(reader, op, 1, value, op.integer("axis", 1))
    zero = _zero(reader, op, 2)
    kind = reader.constant(op, 2).dtype.name if reader.given(op, 2) else "uint8"
    kind = _TYPES.get(op.integer("output_dtype", 0), kind)
    if kind not in _RANGES:
        raise GraphError(f"{op.what}: output must be integers of 4, 8 or 16 bits, not {kind}")
    low, high = _RANGES[kind]
    # The zero point is added after rounding, so an odd one does not change where ties go.
    form = format_of(step, low - zero, high - zero)
    leaf = quantized(reader, op.what, value, form, "ROUND", op.outputs[0])
    integers = Line(scale=(Fraction(1),), offset=(Fraction(zero),))
    return Leaf(leaf.source, leaf.shape, Chain(line=integers))


def dequantize_linear(reader: Reader, op: Operator) -> Value:
    """Integers less the zero point, times the scale."""
    value = reader.varying(op)
    if op.integer("block_size", 0):
        raise GraphError(f"{op.what}: block_size must be 0")
    step = _step(reader, op, 1, value, op.integer("axis", 1))
    moved = elementwise(op.what, value, "plus", (Fraction(-_zero(reader, op, 2)),))
    return elementwise(op.what, moved, "times", step)
