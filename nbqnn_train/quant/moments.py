"""Means and second moments of a layer's inputs, which the rounding of its weights needs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["Moments", "input_moments"]

#: Positions of all maps together that the moments are taken over; a layer has few hundred weights
#: per output, so more positions tell little more.
_POSITIONS = 1 << 17
#: Values of the patches that are in memory at a time.
_VALUES = 1 << 24


@dataclass(frozen=True)
class Moments:
    """Moments of G groups with R outputs and K inputs each, float64, over all positions of all
    images.

    The layer reads ``q`` (K). Without any quantization it would read ``f``, and its real weights
    ``W`` (R, K) would give ``W f``.

    mean : (G, K) of q. covariance : (G, K, K) of q.
    error : (G, R), the mean of ``W (f - q)``. slope : (G, R, K), the covariance of that with q.
    """

    mean: Tensor
    covariance: Tensor
    error: Tensor
    slope: Tensor


def input_moments(
    layer: WeightedLayer,
    weight: Tensor,
    quantized: list[Tensor],
    real: list[Tensor],
    generator: torch.Generator,
) -> Moments:
    """The moments of ``layer`` with the real weights ``weight`` (G, R, K).

    quantized, real : the layer's inputs (N, ...) with and without quantization, batch by batch.
    generator : draws the positions, where there are more than are needed.
    """
    groups, rows, columns = weight.shape
    images = sum(len(batch) for batch in real)
    single = weight.to(real[0].dtype)
    count = 0
    # In steps of about the largest input no square of float32 is infinite or lost.
    unit = _unit(quantized)
    square = weight.new_zeros(groups, columns, columns)
    slope = weight.new_zeros(groups, rows, columns)
    mean, error = weight.new_zeros(groups, columns), weight.new_zeros(groups, rows)
    for seen, wanted in zip(quantized, real, strict=True):
        places = _positions(layer, seen, max(1, _POSITIONS // images), generator)
        per_image = max(1, groups * columns * (1 if places is None else len(places)))
        step = max(1, _VALUES // per_image)
        for start in range(0, len(seen), step):
            part = slice(start, start + step)
            q = _patches(layer, seen[part], places) / unit
            missing = (_patches(layer, wanted[part], places) / unit - q) @ single.mT
            count += q.shape[1]
            square += (q.mT @ q).double()
            slope += (missing.mT @ q).double()
            mean += q.sum(dim=1, dtype=torch.float64)
            error += missing.sum(dim=1, dtype=torch.float64)
    mean, error = mean / count, error / count
    covariance = square / count - mean[:, :, None] * mean[:, None]
    slope = slope / count - error[:, :, None] * mean[:, None]
    return Moments(
        mean=mean * unit,
        covariance=covariance * unit**2,
        error=error * unit,
        slope=slope * unit**2,
    )


def _unit(batches: list[Tensor]) -> float:
    """A power of two near the largest magnitude; 1 where all is zero."""
    largest = max(float(batch.abs().max()) for batch in batches)
    return 2.0 ** min(max(math.frexp(largest)[1], -100), 100) if largest else 1.0


def _windows(layer: WeightedLayer, value: Tensor) -> Tensor:
    """(N, C, OH, OW, KH, KW) of what each output position sees."""
    return layer.geometry.windows(value, tuple(layer.weight.shape[2:]))


def _positions(
    layer: WeightedLayer, value: Tensor, most: int, generator: torch.Generator
) -> Tensor | None:
    """At most ``most`` output positions of a map, counted row by row; None for a linear layer."""
    if layer.geometry is None:
        return None
    height, width = _windows(layer, value[:1]).shape[2:4]
    return torch.randperm(height * width, generator=generator)[:most].sort().values


def _patches(layer: WeightedLayer, value: Tensor, places: Tensor | None) -> Tensor:
    """The inputs of each group for its outputs at ``places``: (G, S, K)."""
    if places is None:
        return value[None]
    windows = _windows(layer, value)
    places = places.to(value.device)
    width = windows.shape[3]
    taken = windows[:, :, places // width, places % width]  # (N, C, S, KH, KW)
    count, channels, positions, *kernel = taken.shape
    groups = layer.geometry.groups
    taken = taken.reshape(count, groups, channels // groups, positions, *kernel)
    return taken.permute(1, 0, 3, 2, 4, 5).reshape(groups, count * positions, -1)
