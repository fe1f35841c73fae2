"""Layers of channel-wise sums: depthwise convolutions, averages, additions."""

from dataclasses import replace

import numpy as np

from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.compiler.lower.dot import geometry
from hw.compiler.lower.sums import summing_layer
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from nbqnn_train.graph import Add, AvgPool2d, Conv2d, Requantize

__all__ = ["addition", "average", "depthwise"]


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
    digits = _digits(context.config, node.multiplier)
    weight = np.broadcast_to(
        np.array(digits, np.int64).reshape(1, -1, 1, 1), (1, len(digits), *node.kernel)
    )
    return summing_layer(
        context,
        node,
        requantize,
        (context.source(node, node.input),),
        Unit.SUM,
        weight,
        stride=node.stride,
        padding=node.padding,
    )


def addition(context: Context, node: Add, requantize: Requantize) -> Layer:
    """An addition of two tensors, each times a power of two."""
    digits = [_power_digits(context.config, shift) for shift in node.shifts]
    weight = np.zeros((1, max(map(len, digits)), 2, 1), np.int64)
    for operand, factors in enumerate(digits):
        weight[0, -len(factors) :, operand, 0] = factors
    layer = summing_layer(
        context,
        node,
        requantize,
        tuple(context.source(node, operand) for operand in node.operands),
        Unit.SUM,
        weight,
    )
    (_, passes, _, _), used = weight.shape, weight[0, :, :, 0] != 0
    if passes == 2 and (used.sum(axis=1) == 1).all() and used[0].tolist() != used[1].tolist():
        # Each pass reads one operand only, so it needs a kernel of one position.
        order = used.argmax(axis=1)
        layer = replace(
            layer,
            sources=tuple(layer.sources[operand] for operand in order),
            weight=weight[:, [[0], [1]], order[:, None]],
            kernel=(1, 1),
        )
    return layer


def _digits(config: AcceleratorConfig, factor: int) -> list[int]:
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
