"""Rounds a layer's weights one after the other, so that each makes up for those before it.

A layer computes ``W x``. Rounding ``W`` to ``Q`` changes its output by ``(Q - W) x``, whose mean
square over real inputs is ``(Q - W) H (Q - W)'`` with ``H`` the second moments of the inputs (of
their deviations from the mean, where an offset makes up for the mean). Nearest levels leave the
correlations in ``H`` unused: those not rounded yet can compensate for the error of one weight.
Source: Frantar et al., *GPTQ*, arXiv 2210.17323; the levels, the choice of the exponents and the
sweeps afterwards are ours.
"""

import torch
from torch import Tensor

from nbqnn_train.quant.weights import Codes, best_exponent, power_of_two

__all__ = ["round_weights"]

#: Added to the diagonal of the moments, as a share of its mean: inputs are a sample.
_DAMPING = 0.01
#: Columns whose updates of the columns to their right are applied together.
_BLOCK = 64
#: Tried around the exponent of the least squared error of the weights alone, beside the nearest
#: levels with that exponent itself.
_OFFSETS = (1, 0, -1)
#: Passes over all weights, each moved to the level that is best beside the others.
_SWEEPS = 4


def round_weights(
    weight: Tensor,
    moments: Tensor,
    bits: int,
    *,
    codes: Codes,
    per_tensor: bool = False,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes (G, R, K) as floats and exponents (G, R), int64, of ``weight``.

    weight : (G, R, K) float64: G groups of R output channels with K inputs.
    moments : (G, K, K) float64, symmetric, positive semidefinite: of each group's inputs.
    codes : the projection; see :mod:`nbqnn_train.quant.weights`.
    per_tensor : whether all channels share one exponent.
    kept : (G, R, K) bool: False holds a weight at zero.
    """
    if kept is None:
        kept = torch.ones_like(weight, dtype=torch.bool)
    groups, rows, columns = weight.shape
    damped = _damped(moments)
    order = damped.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    damped = _columns(_columns(damped, order).mT, order).mT
    best = best_exponent((weight * kept).flatten(0, 1), bits, per_tensor=per_tensor, codes=codes)
    best = best.reshape(groups, 1, rows)
    # All attempts (G, A, R) in one: step by step, most of the time is that of calling PyTorch.
    exponent = torch.cat([best + offset for offset in (0, *_OFFSETS)], dim=1)
    attempts = exponent.shape[1]
    target = _columns(weight, order).repeat(1, attempts, 1)
    held = _columns(kept, order).repeat(1, attempts, 1)
    exponent = exponent.flatten(1)
    levels = _rounded(target, _inverse_factor(damped), exponent, held, bits, codes)
    nearest = _level(target[:, :rows], exponent[:, :rows, None], bits, codes)
    levels[:, :rows] = nearest * held[:, :rows]
    for _ in range(_SWEEPS):
        _sweep(levels, target, damped, exponent, held, bits, codes)
    error = _errors(levels - target, damped).reshape(groups, attempts, rows)
    if per_tensor:
        error = error.sum(dim=(0, 2), keepdim=True).expand_as(error)
    chosen = error.argmin(dim=1, keepdim=True)
    exponent = exponent.reshape(groups, attempts, rows).gather(1, chosen)[:, 0]
    levels = levels.reshape(groups, attempts, rows, columns)
    levels = levels.gather(1, chosen[..., None].expand(-1, -1, -1, columns))[:, 0]
    levels = torch.empty_like(levels).scatter_(2, order[:, None].expand_as(levels), levels)
    return levels * power_of_two(-exponent, levels.dtype)[..., None], exponent


def _errors(difference: Tensor, moments: Tensor) -> Tensor:
    return ((difference @ moments) * difference).sum(dim=2)


def _damped(moments: Tensor) -> Tensor:
    """``moments`` with more on the diagonal; an input that is always zero counts a little."""
    diagonal = moments.diagonal(dim1=1, dim2=2)
    more = _DAMPING * diagonal.mean(dim=1, keepdim=True)
    more = torch.where(more > 0, more, 1.0)
    return moments + torch.diag_embed(more.expand_as(diagonal))


def _columns(matrix: Tensor, order: Tensor) -> Tensor:
    """(G, R, K) with the columns of each group in the given order (G, K)."""
    return matrix.gather(2, order[:, None].expand_as(matrix))


def _inverse_factor(moments: Tensor) -> Tensor:
    """The upper triangular U with ``U' U`` the inverse of ``moments``."""
    lower = torch.linalg.cholesky(moments)
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def _rounded(
    weight: Tensor, factor: Tensor, exponent: Tensor, kept: Tensor, bits: int, codes: Codes
) -> Tensor:
    """Levels (G, R, K): column after column, each error passed on to those that follow."""
    left = weight.clone()
    result = torch.empty_like(left)
    count = weight.shape[2]
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        errors = left.new_zeros(*left.shape[:2], stop - start)
        for column in range(start, stop):
            value = left[..., column]
            level = _level(value, exponent, bits, codes) * kept[..., column]
            result[..., column] = level
            error = (value - level) / factor[:, None, column, column]
            errors[..., column - start] = error
            if column + 1 < stop:
                row = factor[:, None, column, column + 1 : stop]
                left[..., column + 1 : stop] -= error[..., None] * row
        if stop < count:
            left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return result


def _level(value: Tensor, exponent: Tensor, bits: int, codes: Codes) -> Tensor:
    return codes(value, exponent, bits) * power_of_two(exponent, value.dtype)


def _sweep(
    levels: Tensor,
    weight: Tensor,
    moments: Tensor,
    exponent: Tensor,
    kept: Tensor,
    bits: int,
    codes: Codes,
) -> None:
    """Moves each of ``levels`` to the one of the least error beside all others, in place."""
    slope = (levels - weight) @ moments
    count = weight.shape[2]
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        before = levels[..., start:stop].clone()
        for column in range(start, stop):
            old = levels[..., column]
            target = old - slope[..., column] / moments[:, None, column, column]
            new = _level(target, exponent, bits, codes) * kept[..., column]
            moved = new - old
            levels[..., column] = new
            slope[..., start:stop] += moved[..., None] * moments[:, None, column, start:stop]
        if stop < count or start > 0:
            moved = levels[..., start:stop] - before
            slope[..., :start] += moved @ moments[:, start:stop, :start]
            slope[..., stop:] += moved @ moments[:, start:stop, stop:]
