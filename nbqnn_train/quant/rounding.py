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
    rows = weight.shape[1]
    damped = _damped(moments)
    order = damped.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    damped = _columns(_columns(damped, order).mT, order).mT
    best = best_exponent((weight * kept).flatten(0, 1), bits, per_tensor=per_tensor, codes=codes)
    best = best.reshape(-1, rows)
    # All attempts (G, A * R) in one: step by step, most of the time is that of calling PyTorch.
    exponent = torch.cat([best + offset for offset in (0, *_OFFSETS)], dim=1)
    attempts = len(_OFFSETS) + 1
    # In units of a row's step levels are codes, and no step is needed below.
    target = _columns(weight, order).repeat(1, attempts, 1)
    target *= power_of_two(-exponent, target.dtype)[..., None]
    held = _columns(kept, order).repeat(1, attempts, 1)
    level = _Levels(codes, bits)
    levels = _rounded(target, _inverse_factor(damped), held, level)
    levels[:, :rows] = level(target[:, :rows]) * held[:, :rows]
    slope = (levels - target) @ damped
    _sweep(levels, slope, damped, held, level)
    # The first pass tells which attempt is the best; the others go on with that one alone.
    error = ((levels - target) * slope).sum(dim=2) * power_of_two(2 * exponent, target.dtype)
    error = error.unflatten(1, (attempts, rows))
    if per_tensor:
        error = error.sum(dim=2, keepdim=True).expand_as(error)
    chosen = error.argmin(dim=1)
    exponent = exponent.unflatten(1, (attempts, rows)).gather(1, chosen[:, None])[:, 0]
    levels, slope, held = (_chosen(x, chosen, attempts) for x in (levels, slope, held))
    for _ in range(_SWEEPS - 1):
        _sweep(levels, slope, damped, held, level)
    return torch.empty_like(levels).scatter_(2, order[:, None].expand_as(levels), levels), exponent


class _Levels:
    """The nearest levels of values in units of their steps."""

    def __init__(self, codes: Codes, bits: int):
        self.codes, self.bits = codes, bits
        self.exponent = torch.zeros((), dtype=torch.int64)

    def __call__(self, value: Tensor) -> Tensor:
        return self.codes(value, self.exponent.to(value.device), self.bits)


def _chosen(values: Tensor, chosen: Tensor, attempts: int) -> Tensor:
    """(G, R, K) of (G, A * R, K): for each row that of its attempt ``chosen`` (G, R)."""
    values = values.unflatten(1, (attempts, -1))
    index = chosen[:, None, :, None].expand(-1, -1, -1, values.shape[3])
    return values.gather(1, index)[:, 0]


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


def _rounded(weight: Tensor, factor: Tensor, kept: Tensor, level: _Levels) -> Tensor:
    """Levels (G, R, K): column after column, each error passed on to those that follow."""
    left = weight.clone()
    result = torch.empty_like(left)
    count = weight.shape[2]
    for start in range(0, count, _BLOCK):
        part = slice(start, min(start + _BLOCK, count))
        inner = factor[:, part, part]
        # A column's values lie side by side here.
        value, held = left[..., part].mT.contiguous(), kept[..., part].mT.contiguous()
        found, errors = torch.empty_like(value), torch.empty_like(value)
        for column in range(value.shape[1]):
            found[:, column] = level(value[:, column]) * held[:, column]
            error = (value[:, column] - found[:, column]) / inner[:, column, column, None]
            errors[:, column] = error
            _add_outer(value, inner, column, -error)
        result[..., part] = found.mT
        left[..., part.stop :] -= errors.mT @ factor[:, part, part.stop :]
    return result


def _add_outer(value: Tensor, matrix: Tensor, column: int, change: Tensor) -> None:
    """Adds ``matrix[column] x change`` to the columns (G, K, R) of ``value`` behind ``column``."""
    rest = slice(column + 1, None)
    value[:, rest].baddbmm_(matrix[:, column, rest, None], change[:, None])


def _sweep(levels: Tensor, slope: Tensor, moments: Tensor, kept: Tensor, level: _Levels) -> None:
    """Moves each of ``levels`` to the one of the least error beside all others, in place.

    slope : (G, R, K), (levels - weights) @ moments, kept up to date.
    """
    count = levels.shape[2]
    for start in range(0, count, _BLOCK):
        part = slice(start, min(start + _BLOCK, count))
        inner = moments[:, part, part]
        # A column's values lie side by side here.
        value, held = levels[..., part].mT.contiguous(), kept[..., part].mT.contiguous()
        steep, moved = slope[..., part].mT.contiguous(), torch.empty_like(value)
        for column in range(value.shape[1]):
            old = value[:, column]
            target = old - steep[:, column] / inner[:, column, column, None]
            change = level(target) * held[:, column] - old
            moved[:, column] = change
            _add_outer(steep, inner, column, change)
        levels[..., part] += moved.mT
        slope += moved.mT @ moments[:, part]
