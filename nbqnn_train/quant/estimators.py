"""What stands between the latent weight and the loss: the weight that the forward pass uses.

A :class:`Estimator` is a projection ``Q`` and a blend. The blend maps the latent weight ``w``, its
projection ``q = Q(w)`` (a constant for autograd, because it is piecewise constant) and ``blend`` in
0 ... 1 to the weight of the layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.weights import Codes, largest_log2, power_of_two, weight_codes

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "additive_codes",
    "additive_levels",
    "estimator",
    "logarithmic_codes",
    "reconstructed",
    "straight_through",
]


def reconstructed(latent: Tensor, quantized: Tensor, blend: float) -> Tensor:
    """``(1 - blend) * w + blend * Q(w)`` with its true derivative ``1 - blend``.

    While ``blend`` < 1 the gradient is that of the function that was computed, and not zero. The
    factor shrinks as the blend approaches the staircase; the training loop divides it out of the
    step size (see :mod:`nbqnn_train.quantized_training`). Source of the blend: Chen et al., arXiv
    2004.02396; the schedule of ``blend`` and the step size are ours.
    """
    if blend == 0:
        return latent
    if blend == 1:
        # The sum below would round; at 1 the weight is the projection to the bit.
        return quantized.detach() + 0 * latent
    return latent + blend * (quantized.detach() - latent)


def straight_through(latent: Tensor, quantized: Tensor, blend: float) -> Tensor:
    """``Q(w)`` with the derivative of the identity, from the first step at which ``blend`` > 0.

    Source: Bengio, Leonard, Courville, arXiv 1308.3432.
    """
    if blend == 0:
        return latent
    return _StraightThrough.apply(latent, quantized)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, latent, quantized):
        return quantized

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def logarithmic_codes(weight: Tensor, exponent: Tensor, bits: int) -> Tensor:
    """Codes nearest in the logarithm: ``sign(w) * 2**round(log2(|w| / step))``.

    The levels are those of :func:`nbqnn_train.quant.weights.weight_codes`, the thresholds lie at
    ``2**(k + 1/2)``; below ``2**(-1/2)`` steps a weight is 0. Source of the rounding: DeepShift-Q,
    Elhoushi et al., arXiv 1905.13298; its weights have no zero, ours need one.
    """
    scaled = weight.detach() * power_of_two(-exponent, weight.dtype)
    mantissa, power = torch.frexp(scaled.abs())
    log2 = power - 1 + (mantissa >= 0.5**0.5)
    code = power_of_two(log2.clamp(0, largest_log2(bits)), weight.dtype)
    code = torch.where((log2 >= 0) & (scaled != 0), code, 0)
    return torch.copysign(code, scaled) + 0.0


def additive_levels(bits: int) -> list[int]:
    """Magnitudes that are sums of powers of two from disjoint sets: 0, 1; 0, 1, 2, 4; and so on.

    Source: additive powers of two (APoT), Li, Dong, Wang, arXiv 1909.13144, with 1 to 4 bits of
    magnitude; scaled to integers.
    """
    parts = {
        2: ((0, 1),),
        3: ((0, 1, 2, 4),),
        4: ((0, 2, 4), (0, 1)),
        5: ((0, 2, 8, 32), (0, 1, 4, 16)),
    }
    if bits not in parts:
        raise NbqnnError(f"Additive powers of two must have 2..5 bits, not {bits!r}")
    sums = {0}
    for part in parts[bits]:
        sums = {a + b for a in sums for b in part}
    return sorted(sums)


def additive_codes(weight: Tensor, exponent: Tensor, bits: int) -> Tensor:
    """The nearest of the :func:`additive_levels`; from 4 bits on a graph cannot hold them."""
    levels = torch.tensor(additive_levels(bits), dtype=weight.dtype, device=weight.device)
    scaled = weight.detach() * power_of_two(-exponent, weight.dtype)
    middles = (levels[1:] + levels[:-1]) / 2
    code = levels[torch.bucketize(scaled.abs().contiguous(), middles, right=True)]
    return torch.copysign(code, scaled) + 0.0


@dataclass(frozen=True)
class Estimator:
    """A way to learn quantized weights.

    blend : from latent weight, projection and the blend's λ to the layer's weight.
    codes : the projection's codes.
    grows_steps : whether the blend's derivative is 1 - λ, for which steps make up.
    apart : whether sign, zero and exponent are learned apart
        (:mod:`nbqnn_train.quant.decomposed`).
    """

    blend: Callable[[Tensor, Tensor, float], Tensor]
    codes: Codes = weight_codes
    grows_steps: bool = False
    apart: bool = False


ESTIMATORS: dict[str, Estimator] = {
    "reconstructed": Estimator(reconstructed, grows_steps=True),
    "ste": Estimator(straight_through),
    "deepshift": Estimator(straight_through, logarithmic_codes),
    "apot": Estimator(straight_through, additive_codes),
    "s3": Estimator(straight_through, apart=True),
}


def estimator(name: str) -> Estimator:
    """The estimator called ``name``."""
    if name not in ESTIMATORS:
        raise NbqnnError(f"Estimator must be one of {', '.join(ESTIMATORS)}, not {name!r}")
    return ESTIMATORS[name]
