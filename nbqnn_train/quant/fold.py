"""Batch norm as integers: multiplier, bias and shift of a requantizer.

A layer computes ``real = acc * 2**acc_exponent * scale + offset`` and its output code is
``(acc * multiplier + bias + half) >> shift``: so ``multiplier / 2**shift`` stands for
``scale * 2**(acc_exponent - out_exponent)`` and ``bias / 2**shift`` for ``offset /
2**out_exponent``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MULTIPLIER_LOG2_SHIFT_MODE", "Requantization", "requantization", "shift_limit"]

#: Shift mode allows multipliers of 1, 2, 4, 8, 16, for accumulators coarser than their output.
MULTIPLIER_LOG2_SHIFT_MODE = 4
#: acc * multiplier + bias + half stays below this in magnitude, so int64 arithmetic never overflows
#: and the bias fits the graph's 48 bits.
_TOTAL_LOG2 = 46


@dataclass(frozen=True)
class Requantization:
    """Per-channel integers of a requantizer, int64 in shape (C,).

    reach : no ``acc * multiplier + bias + half`` is larger in magnitude.
    """

    multiplier: Tensor
    bias: Tensor
    shift: Tensor
    reach: int


def shift_limit(bound: int, bits: int) -> int:
    """Largest useful shift: beyond it accumulators up to ``bound`` add less than half a step."""
    return min(max(bound, 1).bit_length() + 1, _TOTAL_LOG2 - 2 - bits)


def requantization(
    scale: Tensor, offset: Tensor, out_exponent: int, bits: int, bound: int, *, shift_mode: bool
) -> Requantization:
    """Integers for ``code = acc * scale + offset / 2**out_exponent``, rounded.

    scale : (C,) float64, positive, in output codes per accumulator code; in shift mode powers of
        two.
    offset : (C,) float64, real values.
    bound : largest magnitude of an accumulator.
    """
    limit = shift_limit(bound, bits)
    exponent = torch.frexp(scale)[1].long() - 1  # floor(log2(scale))
    if shift_mode:
        shift = (-exponent).clamp(0, limit)
        log2 = (exponent + shift).clamp(0, MULTIPLIER_LOG2_SHIFT_MODE)
        multiplier = torch.ones_like(log2) << log2
    else:
        # As many bits as 16 and the width of the sum leave.
        room = _TOTAL_LOG2 - 2 - max(bound, 1).bit_length() - exponent
        shift = torch.minimum(15 - exponent, room).clamp(0, _TOTAL_LOG2 - 2 - bits)
        multiplier = _round(scale * (1 << shift).double()).clamp(1, (1 << 16) - 1)
        # Rounding up to 2**16 is one bit too many.
        multiplier = multiplier.long()
    unit = (1 << shift).double()
    bias = _round(offset / 2.0**out_exponent * unit)
    # Beyond this the output is saturated whatever the accumulator holds.
    cap = ((1 << (shift + bits + 1)) + bound * multiplier).clamp(max=(1 << (_TOTAL_LOG2 + 1)) - 1)
    bias = torch.minimum(torch.maximum(bias, -cap.double()), cap.double()).long()
    sums = bound * multiplier + bias.abs() + ((1 << shift) >> 1)
    return Requantization(multiplier, bias, shift, int(sums.max()))


def _round(value: Tensor) -> Tensor:
    return torch.floor(value + 0.5)
