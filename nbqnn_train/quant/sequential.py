"""Rounds the weights of a network layer by layer, with inputs as the layers before give them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nbqnn_train.quant.moments import Moments, input_moments
from nbqnn_train.quant.network import QuantNetwork, Step
from nbqnn_train.quant.real import real_value
from nbqnn_train.quant.rounding import round_weights
from nbqnn_train.quant.weighted import WeightedLayer
from nbqnn_train.quant.weights import power_of_two

__all__ = ["Rounded", "round_network", "set_rounded"]

#: How much the real weights may move to make up for errors of earlier layers: a share of the mean
#: variance of a layer's inputs that is added to each of them.
_RIDGE = 0.01


class Rounded(NamedTuple):
    """A layer's rounded weights.

    codes : in the shape of the weights, float64, of ``bits`` bits.
    exponent : (Cout,) int64; a weight is ``codes * 2**exponent``.
    lost : (Cout,) float64, what the mean of each output lacks with these weights.
    """

    bits: int
    codes: Tensor
    exponent: Tensor
    lost: Tensor


def round_network(
    network: QuantNetwork,
    batches: list[Tensor],
    generator: torch.Generator,
    progress: Callable[[str], None],
    others: Sequence[int] = (),
) -> dict[str, list[Rounded]]:
    """Moves the weights of ``network`` to levels, in place, and its offsets so that means stay.

    Each layer's outputs are to be those of the network without quantization, from inputs as the
    quantized layers before it give them (as in Li et al., *GPTAQ*, arXiv 2504.02692): first the
    real weights are fitted to that, then they are rounded (:mod:`nbqnn_train.quant.rounding`), then
    the mean of each output is restored (Nagel et al., arXiv 1906.04721, section 4.2).

    network : its activations calibrated; the weights real.
    batches : inputs; values of them all are in memory for every step that is still needed.
    progress : called with the name of each layer that is done.
    others : other widths. Returned for each layer are the weights that it got, then those with each
        of these widths, from the same inputs.
    """
    alternatives: dict[str, list[Rounded]] = {}
    formats = network.formats()
    last_use = {source: step.name for step in network.steps for source in step.inputs}
    real: dict[str, list[Tensor]] = {}
    quantized: dict[str, list[Tensor]] = {}
    network.eval()
    with torch.no_grad():
        for step in network.steps:
            op = network.ops[step.name]
            wanted = _inputs(network, step, real, batches)
            seen = _inputs(network, step, quantized, batches)
            sources = [formats[source] for source in step.inputs]
            real[step.name] = [real_value(op, inputs) for inputs in wanted]
            if isinstance(op, WeightedLayer):
                inputs = [x for (x,) in seen], [x for (x,) in wanted]
                found = _rounded(op, *inputs, generator, (op.bits, *others))
                alternatives[step.name] = found
                set_rounded(op, found[0])
                progress(step.name)
            quantized[step.name] = [op(inputs, sources, None) for inputs in seen]
            for source in set(step.inputs):
                if last_use[source] == step.name:
                    del real[source], quantized[source]
    return alternatives


def set_rounded(layer: WeightedLayer, rounded: Rounded) -> None:
    """Gives ``layer`` those weights, and adds to its offset what they lose."""
    layer.bits = rounded.bits
    layer.set_codes(rounded.codes, rounded.exponent)
    layer.add_to_output(rounded.lost)


def _inputs(
    network: QuantNetwork, step: Step, values: dict[str, list[Tensor]], batches: list[Tensor]
) -> list[list[Tensor]]:
    """What an operation reads, batch by batch."""
    if not step.inputs:
        several = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
        return [[network.tensors(*batch)[step.name]] for batch in several]
    sources = [values[source] for source in step.inputs]
    return [list(inputs) for inputs in zip(*sources, strict=True)]


def _rounded(
    layer: WeightedLayer,
    quantized: list[Tensor],
    real: list[Tensor],
    generator: torch.Generator,
    widths: Sequence[int],
) -> list[Rounded]:
    """The layer's weights with each of ``widths``."""
    groups = 1 if layer.geometry is None else layer.geometry.groups
    weight = layer.folded_weight()
    weight = weight.reshape(groups, len(weight) // groups, -1)
    kept = None if layer.kept is None else layer.kept.reshape(weight.shape)
    moments = input_moments(layer, weight, quantized, real, generator)
    fitted = _fitted(weight, moments)
    found = []
    for bits in widths:
        codes, exponent = round_weights(
            fitted,
            moments.covariance,
            bits,
            codes=layer.estimator.codes,
            per_tensor=layer.per_tensor,
            kept=kept,
        )
        levels = codes * power_of_two(exponent, torch.float64)[..., None]
        lost = (weight - levels) @ moments.mean[..., None] + moments.error[..., None]
        codes = codes.reshape(layer.weight.shape)
        found.append(Rounded(bits, codes, exponent.flatten(), lost.flatten()))
    return found


def _fitted(weight: Tensor, moments: Moments) -> Tensor:
    """Real weights whose outputs from quantized inputs are nearest to those wanted."""
    covariance = moments.covariance
    ridge = _RIDGE * covariance.diagonal(dim1=1, dim2=2).mean(dim=1)
    ridge = torch.where(ridge > 0, ridge, 1.0)
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    damped = covariance + ridge[:, None, None] * identity
    return weight + torch.linalg.solve(damped, moments.slope.mT).mT
