"""Layers of channel-wise sums: depthwise convolutions, averages, additions."""

from dataclasses import replace

import numpy as np

from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.compiler.lower.dot import geometry
from hw.compiler.lower.many import sum_of_many
from hw.compiler.lower.sums import summing_layer
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from nbqnn_train.graph import Add, AvgPool2d, Conv2d, Requantize
from nbqnn_train.graph.operators import Multiply, Sum

__all__ = ["addition", "average", "depthwise", "factor_digits", "scaling"]

#: Tensors that channel-wise sums read in turn.
_MOST_OPERANDS = 2


def depthwise(context: Context, node: Conv2d, requantize: Requantize) -> Layer:
    """A depthwise convolution: each output channel has one input channel."""
    context.check_weight_bits(node)
    return summing_layer(
        context,
        node,
        requantize,
        (context.memory_of(node.input),),
        Unit.SUM,
        node.weight,
        macs=node.weight.size * context.positions(requantize),
        **geometry(node),
    )


def average(context: Context, node: AvgPool2d, requantize: Requantize) -> Layer:
    """An average: the window's sum times a factor, one pass for each digit of the factor."""
    digits = _positive_digits(context.config, node.multiplier)
    weight = np.broadcast_to(
        np.array(digits, np.int64).reshape(1, -1, 1, 1), (1, len(digits), *node.kernel)
    )
    return summing_layer(
        context,
        node,
        requantize,
        (context.memory_of(node.input),),
        Unit.SUM,
        weight,
        stride=node.stride,
        padding=node.padding,
    )


def addition(context: Context, node: Add | Sum, requantize: Requantize) -> Layer:
    """The sum of tensors, each times a factor, and of constants."""
    factors, constant = _terms(context, node)
    if not factors:
        raise CompileError(f"layer {node.name}: a sum of constants alone is not supported")
    if len(factors) > _MOST_OPERANDS:
        return sum_of_many(context, node, requantize, factors, constant)
    digits = [factor_digits(context.config, factor) for factor in factors.values()]
    weight = np.zeros((1, max(map(len, digits)), len(digits), 1), np.int64)
    for operand, own in enumerate(digits):
        weight[0, -len(own) :, operand, 0] = own
    layer = summing_layer(
        context,
        node,
        requantize,
        tuple(context.memory_of(operand) for operand in factors),
        Unit.SUM,
        weight,
        types=[context.types[operand] for operand in factors],
        constant=constant,
    )
    (_, passes, operands, _), used = weight.shape, weight[0, :, :, 0] != 0
    apart = operands == passes == 2 and used[0].tolist() != used[1].tolist()
    if apart and (used.sum(axis=1) == 1).all():
        # Each pass has one operand of its own.
        order = used.argmax(axis=1)
        layer = replace(
            layer,
            sources=tuple(layer.sources[operand] for operand in order),
            weight=weight[:, [[0], [1]], order[:, None]],
            kernel=(1, 1),
        )
    return layer


def scaling(context: Context, node: Multiply, requantize: Requantize) -> Layer:
    """A tensor times a constant for each channel, which becomes its weights, digit by digit."""
    names = node.operands
    if context.constant(names[0]) is not None:
        names = names[::-1]
    source = context.memory_of(names[0])
    factors = context.constant(names[1])
    digits = [factor_digits(context.config, int(factor)) for factor in factors]
    weight = np.zeros((len(digits), max(map(len, digits)), 1, 1), np.int64)
    for channel, own in enumerate(digits):
        weight[channel, -len(own) :, 0, 0] = own
    types = [context.types[names[0]]]
    return summing_layer(context, node, requantize, (source,), Unit.SUM, weight, types=types)


def _terms(context: Context, node: Add | Sum) -> tuple[dict[str, int], np.ndarray]:
    """What each tensor is multiplied by, and the sum (C,) of the constants."""
    signs = node.signs if isinstance(node, Sum) else (1,) * len(node.operands)
    factors: dict[str, int] = {}
    constant = np.zeros(context.types[node.name].shape[0], np.int64)
    for name, shift, sign in zip(node.operands, node.shifts, signs, strict=True):
        factor = int(sign) * (1 << int(shift))
        codes = context.constant(name)
        if codes is None:
            factors[name] = factors.get(name, 0) + factor
        else:
            constant += factor * codes
    return factors, constant


def factor_digits(config: AcceleratorConfig, factor: int) -> list[int]:
    """Any factor in digits of ``radix_bits``, the most significant first."""
    sign, size = (-1 if factor < 0 else 1), abs(factor)
    if not size:
        return [0]
    power = size & (size - 1) == 0
    digits = (
        _power_digits(config, size.bit_length() - 1) if power else _positive_digits(config, size)
    )
    return [sign * digit for digit in digits]


def _positive_digits(config: AcceleratorConfig, factor: int) -> list[int]:
    """The digits of a positive factor, ``radix_bits`` each, the most significant first."""
    radix = 1 << config.radix_bits
    digits = []
    while factor:
        digit = factor % radix
        # Three is no weight: it becomes -1, and the next digit is one more.
        digit -= radix if digit == 3 else 0
        digits.append(digit)
        factor = (factor - digit) // radix
    return digits[::-1]


def _power_digits(config: AcceleratorConfig, shift: int) -> list[int]:
    """The digits of ``2**shift``, ``radix_bits`` each. The first digit may be any weight."""
    zeros = -(-max(0, shift - config.weight_magnitude_bits + 1) // config.radix_bits)
    return [1 << shift - zeros * config.radix_bits] + [0] * zeros
