"""Merges constants into the requantizer's addend, so that the array needs no correction.

The memories hold signed stored codes. An unsigned activation x that needs all ``act_bits`` bits is
stored as ``x - offset`` with ``offset = 2**(act_bits - 1)``. All others are stored as they are
(offset 0). The array sums stored codes, and its lanes invert instead of negating. The true sum is

    acc = array + negatives + offset * sum(weights)

where ``negatives`` is the filter's number of negative weights (0 with multipliers). Padding passes
the lanes like any other stored code, as ``-offset``, so this holds at the borders, too.

The requantizer computes ``(array * scale + addend) >> shift``, with ``scale = 2**PRE_SHIFT`` or the
multiplier. The addend takes the correction, bias, rounding and the output's offset. All of it is
exact.
"""

import numpy as np

from hw.compiler.errors import AddendError, CompileError
from hw.contract.config import AcceleratorConfig
from hw.contract.words import PRE_SHIFT, ChannelParams, addend_bits
from nbqnn_train.graph import Requantize

__all__ = [
    "identity_params",
    "requantize_params",
]


def identity_params(config: AcceleratorConfig, channels: int) -> ChannelParams:
    """Params that leave stored codes unchanged."""
    shift = PRE_SHIFT if config.requant == "shift" else 0
    return ChannelParams(
        np.zeros(channels, np.int64),
        np.full(channels, shift, np.int64),
        np.ones(channels, np.int64),
    )


def requantize_params(
    config: AcceleratorConfig,
    layer: str,
    node: Requantize,
    correction: np.ndarray,
    array_low: np.ndarray,
    array_high: np.ndarray,
    out_offset: int,
) -> ChannelParams:
    """Params with which the requantizer computes ``node`` on the array's sums.

    Parameters
    ----------
    layer : str
        The layer's name, for messages.
    correction : (C,)
        True sum less the array's.
    array_low, array_high : (C,)
        The range of the array's sums.
    out_offset : int
        Code less stored code of the output.

    Raises
    ------
    CompileError
        The configuration does not have a multiplier; or an addend does not fit, and the largest one
        that fits gives other codes.
    """
    channels = len(node.multiplier)
    addends, shifts, multipliers = [], [], []
    limit = 1 << (addend_bits(config) - 1)
    for channel in range(channels):
        multiplier, bias, shift, lacking = (
            int(values[channel]) for values in (node.multiplier, node.bias, node.shift, correction)
        )
        half = (1 << shift) >> 1
        if config.requant == "shift":
            if multiplier & (multiplier - 1) or multiplier > 1 << PRE_SHIFT:
                raise CompileError(
                    f"layer {layer}: multiplier of channel {channel} must be a power of two up to "
                    f"{1 << PRE_SHIFT} in a configuration with requant = shift, not {multiplier}"
                )
            left = PRE_SHIFT - (multiplier.bit_length() - 1)
            scale = 1 << PRE_SHIFT
            addend, total = (bias + half << left) + lacking * scale, shift + left
        else:
            scale = multiplier
            addend, total = bias + half + lacking * scale, shift
        low, high = int(array_low[channel]) * scale, int(array_high[channel]) * scale
        codes = {min(max((end + addend) >> total, node.low), node.high) for end in (low, high)}
        if len(codes) == 1:
            total, addend = _constant(codes.pop(), node, low, high)
        addend -= out_offset << total
        clamped = min(max(addend, -limit), limit - 1)
        if clamped != addend:
            ends = [
                min(max((end + value) >> total, node.low - out_offset), node.high - out_offset)
                for end in (low, high)
                for value in (addend, clamped)
            ]
            # Codes rise with the sum: if both ends have the same code, all sums between have it.
            if len(set(ends)) != 1:
                raise AddendError(
                    f"layer {layer}: addend {addend} of channel {channel} must fit "
                    f"{addend_bits(config)} bits (acc_bits = {config.acc_bits})"
                )
        addends.append(clamped)
        shifts.append(total)
        multipliers.append(multiplier)
    return ChannelParams(
        np.array(addends, np.int64), np.array(shifts, np.int64), np.array(multipliers, np.int64)
    )


def _constant(code: int, node: Requantize, low: int, high: int) -> tuple[int, int]:
    """A shift and an addend that make ``code`` of every sum from ``low`` to ``high``.

    The graph gives such a channel a large shift, with which the output's offset would not fit the
    addend. A code at an end of the range is reached by saturation.
    """
    if code == node.low:
        return PRE_SHIFT, (code << PRE_SHIFT) - high
    if code == node.high:
        return PRE_SHIFT, (code << PRE_SHIFT) - low
    total = (high - low).bit_length()
    return total, (code << total) - low
