"""Weights whose sign, zero and exponent are learned apart.

A weight is ``sign * nonzero * 2**shift`` steps, with ``sign`` -1 or 1, ``nonzero`` 0 or 1 and
``shift`` 0 ... T. Each is decided by signs of latent numbers of its own; ``shift`` has T of them
and is the length of the run of ones that ends with the last: ``shift_t = one_t * (shift_{t-1} +
1)``. Source: S3, Li et al., arXiv 2107.03453 (DenseShift, arXiv 2208.09708, leaves out the zero).
How the latent numbers begin, and their unit, are ours.
"""

import torch
from torch import Tensor, nn

from nbqnn_train.quant.weights import best_exponent, largest_log2, power_of_two

__all__ = ["SignZeroShift"]


class SignZeroShift(nn.Module):
    """Latent numbers behind the weights of one layer.

    Until :meth:`begin` they mean nothing. Gradients pass straight through the decisions.

    weight : in the shape of the weights, of ``bits`` bits.
    sign, nonzero, each of the T shifts : in the shape of the weights.
    exponent : (Cout,) int64, of the steps; it stays.
    """

    def __init__(self, weight: Tensor, bits: int):
        super().__init__()
        self.bits = bits
        blank = torch.zeros_like(weight, requires_grad=False)
        self.sign = nn.Parameter(blank.clone())
        self.nonzero = nn.Parameter(blank.clone())
        self.shifts = nn.ParameterList(blank.clone() for _ in range(largest_log2(bits)))
        self.register_buffer("exponent", torch.zeros(len(weight), dtype=torch.int64))
        self.register_buffer("_begun", torch.zeros((), dtype=torch.bool))

    @property
    def begun(self) -> bool:
        """Whether the numbers stand for weights."""
        return bool(self._begun)

    def begin(self, weight: Tensor, exponent: Tensor | None = None) -> None:
        """Begins with the levels nearest to ``weight``, in steps of ``2**exponent`` (by default
        those of the least squared error).

        Latent numbers have the unit of weights: each is as far from where it decides otherwise as
        the weight is from that threshold.
        """
        with torch.no_grad():
            self._begun.fill_(True)
            self.exponent.copy_(best_exponent(weight, self.bits) if exponent is None else exponent)
            magnitude, unit = weight.abs(), self._unit(weight.dtype)
            self.sign.copy_(weight)
            self.nonzero.copy_(magnitude - 0.5 * unit)
            for number in range(largest_log2(self.bits)):
                # The last decides between 1 and 2 steps, the one before it between 2 and 4.
                self.shifts[-1 - number].copy_(magnitude * 2.0**-number - 1.5 * unit)

    def forward(self) -> Tensor:
        """The weights."""
        unit = self._unit(self.sign.dtype)
        shift = torch.zeros_like(self.sign)
        for latent in self.shifts:
            shift = _Decision.apply(latent, unit) * (shift + 1)
        sign = 2 * _Decision.apply(self.sign, 2 * unit) - 1
        return sign * _Decision.apply(self.nonzero, unit) * torch.exp2(shift) * unit

    def _unit(self, dtype: torch.dtype) -> Tensor:
        return power_of_two(self.exponent, dtype).reshape(-1, *(1,) * (self.sign.dim() - 1))


class _Decision(torch.autograd.Function):
    """1 where ``latent`` is not negative, else 0; as steep as a line from 0 to 1 over ``width``."""

    @staticmethod
    def forward(ctx, latent, width):
        ctx.save_for_backward(width)
        return (latent >= 0).to(latent.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (width,) = ctx.saved_tensors
        return gradient / width, None
