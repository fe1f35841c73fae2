"""Which layers need more bits: what each width costs the outputs, and the best mixes."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, convert_for
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.limits import WEIGHT_BITS
from nbqnn_train.quant.inputs import Batches
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.samples import Samples, choose_formats, read_samples, seeded_generator
from nbqnn_train.quant.sequential import Rounded, round_network, set_rounded
from nbqnn_train.quantize import Progress

__all__ = ["LayerSensitivity", "Mix", "best_mixes", "check_bit_widths", "sensitivities"]

#: Mixes that are kept while layers are added. More would change the best ones by less than a
#: thousandth of the network's weight bits.
_KEPT = 4096


@dataclass(frozen=True)
class LayerSensitivity:
    """How much the outputs suffer from a layer's width.

    path : of the layer's module, a key of ``QuantConfig.overrides``.
    weights : their number.
    distances : width -> sum of the squared errors that the outputs for inputs that were held out
        have more than with the widest weights, at least 0. Narrower weights have no less.
    """

    path: str
    weights: int
    distances: dict[int, float]


@dataclass(frozen=True)
class Mix:
    """A width for each layer.

    widths : by the path of the layer.
    weight_bits : of all weights together.
    distance : the sum of the layers' distances.
    """

    widths: dict[str, int]
    weight_bits: int
    distance: float

    @property
    def overrides(self) -> dict[str, dict[str, int]]:
        """What ``QuantConfig.overrides`` takes."""
        return {path: {"weight_bits": bits} for path, bits in self.widths.items()}


def check_bit_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """``widths`` in rising order. Raises :exc:`NbqnnError` unless they are two or more of 2...6."""
    low, high = WEIGHT_BITS
    if len(set(widths)) < 2 or not all(type(b) is int and low <= b <= high for b in widths):
        shown = ",".join(map(str, widths))
        raise NbqnnError(f"Widths must be at least two of {low}...{high} bits, not {shown!r}")
    return tuple(sorted(set(widths)))


@torch.inference_mode(False)  # within one, nothing could be rounded
def sensitivities(
    module: nn.Module,
    batches: Batches,
    config: QuantConfig,
    widths: Sequence[int],
    *,
    images: int = 1024,
    seed: int = 0,
    example=None,
    progress: Progress | None = None,
) -> list[LayerSensitivity]:
    """How much the outputs suffer from each width of each layer, without labels.

    All layers are rounded as :func:`nbqnn_train.quantize.quantize` does, with the widest weights,
    and at each layer with all other widths too. Then one layer at a time gets narrower weights, and
    the outputs for inputs that were held out are looked at. So one pass over the layers, and
    one over the held-out inputs for each layer and width, are all that it takes.

    The arguments are those of ``quantize``; ``config.weight_bits`` and its overrides are not used.
    A layer without a module of its own keeps the widest weights and is not listed. Raises
    :exc:`NbqnnError` as ``quantize`` does, and for widths that are not at least two of 2...6.
    """
    generator = seeded_generator(seed)
    *narrower, widest = check_bit_widths(widths)
    config = replace(config, weight_bits=widest, overrides={})
    network, samples = read_samples(*convert_for(module, config, batches, example), images)
    paths = _paths(network)
    total = len(network.weighted_layers()) + len(paths) * len(narrower)
    done = 0

    def report(name: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, name)

    choose_formats(network, samples)
    rounded = round_network(network, samples.seen, generator, report, narrower)
    network.eval()
    least = samples.distance(network)
    found = []
    for path, names in paths.items():
        distances = {widest: 0.0}
        for index in reversed(range(len(narrower))):
            chosen = {name: _instead(rounded[name], 1 + index) for name in names}
            distances[narrower[index]] = _distance_with(network, samples, chosen) - least
            report(path)
        distances = _rising(distances)
        layers = network.weighted_layers()
        # A module that is used twice has one set of weights.
        found.append(LayerSensitivity(path, layers[names[0]].weight.numel(), distances))
    return found


def _rising(distances: dict[int, float]) -> dict[int, float]:
    """Each width at least as far off as all wider ones; in rising order of widths.

    A few held-out inputs may like narrower weights better; that is chance.
    """
    result, most = {}, 0.0
    for bits in sorted(distances, reverse=True):
        most = max(most, distances[bits])
        result[bits] = most
    return dict(sorted(result.items()))


def _paths(network: QuantNetwork) -> dict[str, list[str]]:
    """Path of a module -> its layers."""
    paths: dict[str, list[str]] = {}
    for operation in network.origin.reading.operations:
        if operation.path and operation.name in network.weighted_layers():
            paths.setdefault(operation.path, []).append(operation.name)
    return paths


def _instead(found: list[Rounded], index: int) -> Rounded:
    """Weights for a layer whose offset already has what the first ones lose."""
    return found[index]._replace(lost=found[index].lost - found[0].lost)


def _distance_with(network: QuantNetwork, samples: Samples, chosen: dict[str, Rounded]) -> float:
    """The distance of the outputs with other weights in some layers, which are as before then."""
    before = {name: network.ops[name] for name in chosen}
    for name, rounded in chosen.items():
        network.ops[name] = copy.deepcopy(before[name])
        set_rounded(network.ops[name], rounded)
    try:
        return samples.distance(network)
    finally:
        for name, layer in before.items():
            network.ops[name] = layer


def best_mixes(layers: Sequence[LayerSensitivity]) -> list[Mix]:
    """All mixes of widths that no other mix beats in both bits and distance; fewest bits first.

    Distances of layers are added up. Where there are very many mixes, those of nearly equal size
    are thinned out: the best of each size stays.
    """
    bits, distance = np.zeros(1, np.int64), np.zeros(1)
    chosen = np.zeros((1, 0), np.int64)
    for layer in layers:
        widths = np.array(sorted(layer.distances))
        more = np.array([layer.distances[int(width)] for width in widths])
        bits = (bits[:, None] + widths * layer.weights).ravel()
        distance = (distance[:, None] + more).ravel()
        chosen = np.hstack(
            [chosen.repeat(len(widths), axis=0), np.tile(widths, len(chosen))[:, None]]
        )
        kept = _worth_having(bits, distance)
        bits, distance, chosen = bits[kept], distance[kept], chosen[kept]
    return [
        Mix(
            {layer.path: int(width) for layer, width in zip(layers, row, strict=True)},
            int(size),
            float(far),
        )
        for row, size, far in zip(chosen, bits, distance, strict=True)
    ]


def _worth_having(bits: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Places of what nothing beats in both, at most about ``_KEPT``; fewest bits first."""
    order = np.lexsort((distance, bits))
    least = np.minimum.accumulate(distance[order])
    better = np.ones(len(order), bool)
    better[1:] = distance[order][1:] < least[:-1]
    order = order[better]
    if len(order) <= _KEPT:
        return order
    # The last of each bin has the least distance of all that are as small.
    low, high = int(bits[order[0]]), int(bits[order[-1]])
    bins = (bits[order] - low) * _KEPT // (high - low + 1)
    last = np.append(bins[1:] != bins[:-1], True)
    last[0] = True
    return order[last]
