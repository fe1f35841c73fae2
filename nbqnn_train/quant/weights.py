"""Projection of real weights onto zero and signed powers of two.

An n-bit weight is ``code * 2**exponent`` with a code of 0 or plus or minus 2**k, k = 0 ... 2**(n-1)
- 2, and one exponent per output channel (or one for the whole layer). Codes are nearest in the
linear domain.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Codes", "best_exponent", "largest_log2", "power_of_two", "project", "weight_codes"]

#: From weights, exponents that broadcast over them and bits to codes, as floats.
Codes = Callable[[Tensor, Tensor, int], Tensor]

#: The exponent of an all-zero channel; any would do.
_ZERO_CHANNEL_EXPONENT = -16
#: Exponents stay well inside the graph's -128 ... 127, so that sums with activations' exponents do.
_EXPONENT_RANGE = (-100, 100)
#: The largest numbers below one half.
_BELOW_HALF = {torch.float32: 0.5 - 2.0**-25, torch.float64: 0.5 - 2.0**-54}
#: Of the largest code that learning uses, whatever the format could hold.
_LARGEST_LOG2 = 15
#: Tried around the exponent that maps the largest magnitude into [top level, twice that).
_CANDIDATES = (1, 0, -1, -2)


def largest_log2(bits: int) -> int:
    """log2 of the largest code that learning uses: 0, 2, 6, 14, 15 for 2 ... 6 bits.

    A code of 6 bits could be as large as 2**30, but then accumulators leave no bits for the
    multipliers of requantizers, and weights below 2**-15 of a channel's largest add nothing.
    """
    return min((1 << (bits - 1)) - 2, _LARGEST_LOG2)


def power_of_two(exponent: Tensor, dtype: torch.dtype) -> Tensor:
    """``2**exponent`` to the bit, as float32 or float64; ``torch.pow`` does not promise that."""
    if dtype == torch.float64:
        return ((exponent.long() + 1023) << 52).view(torch.float64)
    return ((exponent.int() + 127) << 23).view(torch.float32)


def _nearest_power(value: Tensor) -> Tensor:
    """The nearest signed power of two of each nonzero normal number; 1.5 * 2**k goes to 2**(k + 1).

    Half a mantissa is added to the bits and the mantissa is dropped: its carry is the rounding.
    """
    if value.dtype == torch.float64:
        bits = (value.view(torch.int64) + (1 << 51)) & -(1 << 52)
        return bits.view(torch.float64)
    bits = (value.view(torch.int32) + (1 << 22)) & -(1 << 23)
    return bits.view(torch.float32)


def weight_codes(weight: Tensor, exponent: Tensor, bits: int) -> Tensor:
    """Codes of the levels nearest to ``weight``, as floats, in the shape of ``weight``.

    ``weight`` is float32 or float64; ``exponent`` is an integer tensor that broadcasts over it. A
    tie goes to the larger magnitude: half a step is 1 step, 1.5 * 2**k steps are 2**(k + 1) steps.
    The rule is symmetric in the sign, so flipping a channel's sign flips its codes.
    """
    scaled = weight.detach() * power_of_two(-exponent, weight.dtype)
    magnitude = scaled.abs()
    code = _nearest_power(magnitude).clamp_(1, 1 << largest_log2(bits))
    # Zero below half a step: much faster than multiplying by a comparison.
    code = torch.ops.aten.threshold_backward(code, magnitude, _BELOW_HALF[weight.dtype])
    return torch.copysign(code, scaled) + 0.0  # no negative zeros


def project(weight: Tensor, exponent: Tensor, bits: int, codes: Codes = weight_codes) -> Tensor:
    """``weight`` moved to levels: ``codes(weight, exponent, bits) * 2**exponent``."""
    return codes(weight, exponent, bits) * power_of_two(exponent, weight.dtype)


def best_exponent(
    weight: Tensor, bits: int, *, per_tensor: bool = False, codes: Codes = weight_codes
) -> Tensor:
    """The exponents that minimise the squared projection error, int64 in shape (Cout,).

    ``weight`` has shape (Cout, ...). With ``per_tensor`` one exponent serves the whole tensor and
    is repeated. Of equally good exponents the largest is taken, which keeps accumulators narrow.
    """
    rows = weight.detach().reshape(1 if per_tensor else weight.shape[0], -1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    top = torch.frexp(largest)[1].long() - 1 - largest_log2(bits)
    top = torch.where(largest > 0, top, _ZERO_CHANNEL_EXPONENT)
    best, best_error = top, torch.full_like(largest, torch.inf)
    for offset in _CANDIDATES:
        candidate = (top + offset).clamp(*_EXPONENT_RANGE)
        error = (project(rows, candidate, bits, codes) - rows).square_().sum(dim=1, keepdim=True)
        better = error < best_error
        best = torch.where(better, candidate, best)
        best_error = torch.where(better, error, best_error)
    return best[:, 0].expand(weight.shape[0]).contiguous()
