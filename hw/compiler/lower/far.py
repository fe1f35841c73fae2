"""Requantizers whose constants are beyond the hardware's addend: in two layers.

Where a channel's output hardly changes, its shift is large, and so is the constant that brings it
to its codes. The first layer then gives codes near 0, the second one adds what they are away.
"""

from dataclasses import replace

import numpy as np

from hw.compiler.lower.context import Context, as_map
from nbqnn_train.graph import Requantize, TensorType

__all__ = ["near_and_far"]


def near_and_far(context: Context, node: Requantize) -> tuple[Requantize, Requantize]:
    """Two requantizers that compute ``node``; the tensor between them is added.

    Channel c is ``far[c]`` away from 0. Codes of the first one that its format cannot hold are
    beyond the limits of the second one on the same side.
    """
    bits = context.config.act_bits
    half = 1 << bits - 1
    bounds = context.sums[node.input]
    far = [_distance(node, half, channel, bounds) for channel in range(len(node.multiplier))]
    name = context.new_name(f"{node.name}.near")
    shape = as_map(context.types[node.name].shape)
    exponent = context.types[node.name].exponent
    context.types[name] = TensorType(shape=shape, bits=bits, signed=True, exponent=exponent)
    context.shapes[name], context.offsets[name] = shape, 0
    bias = [int(b) - (d << int(s)) for b, d, s in zip(node.bias, far, node.shift, strict=True)]
    near = replace(
        node, name=name, bits=bits, signed=True, bias=np.array(bias), low=-half, high=half - 1
    )
    ones = np.ones(len(far), np.int64)
    moved = replace(node, input=name, multiplier=ones, bias=np.array(far), shift=0 * ones)
    return near, moved


def _distance(node: Requantize, half: int, channel: int, bounds: tuple[int, int]) -> int:
    """Nearest to the codes' middle, such that all codes between the limits are in the format."""
    multiplier, bias, shift = (
        int(values[channel]) for values in (node.multiplier, node.bias, node.shift)
    )
    rounding = (1 << shift) >> 1
    low, high = (
        min(max((bound * multiplier + bias + rounding) >> shift, node.low), node.high)
        for bound in bounds
    )
    return min(max((bias + 2 * rounding) >> shift, high - half + 1), low + half)
