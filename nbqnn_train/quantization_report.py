"""What quantization did to a network: its weights and activations beside full precision."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from nbqnn_train.export import export_graph
from nbqnn_train.graph.summary import GraphSummary, summarize
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.ops import TrainingOp
from nbqnn_train.quant.real import real_values
from nbqnn_train.quant.weighted import WeightedLayer
from nbqnn_train.quant.weights import power_of_two

__all__ = ["quantization_errors", "report_quantization"]


def report_quantization(
    network: QuantNetwork, batches: list[np.ndarray], reference: QuantNetwork | None = None
) -> GraphSummary:
    """:func:`summarize` of the network's graph, with errors against full precision.

    The network in full precision has the weights of ``reference``, a conversion of the same model,
    and by default the network's own before they are projected. An error is
    ``|quantized - real| / |real|`` of Euclidean norms (None where all is zero in full precision):
    ``weight_error`` of a layer with weights, batch norm included in so far as it is projected with
    them, and ``error`` of each activation over all ``batches``, float32 (n, C, H, W).
    """
    network = copy.deepcopy(network).double().eval()
    graph = export_graph(network, batches[0].shape[1:])
    summary = summarize(graph, batches)
    weights, errors = quantization_errors(network, batches, reference)
    nodes = (
        replace(node, weight_error=weights.get(node.name), error=errors.get(node.name))
        for node in summary.nodes
    )
    return replace(summary, nodes=tuple(nodes))


def quantization_errors(
    network: QuantNetwork, batches: list[np.ndarray], reference: QuantNetwork | None = None
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """The errors of :func:`report_quantization`: of layers' weights and of activations, by the
    names of the graph's nodes."""
    network = copy.deepcopy(network).double().eval()
    reference = network if reference is None else copy.deepcopy(reference).double().eval()
    return (
        dict(_weight_errors(network, reference)),
        dict(_activation_errors(network, reference, batches)),
    )


def _relative(difference: float, norm: float) -> float | None:
    """The quotient of two sums of squares, as one of norms."""
    return math.sqrt(difference / norm) if norm else None


def _weight_errors(
    network: QuantNetwork, reference: QuantNetwork
) -> Iterator[tuple[str, float | None]]:
    formats = network.formats()
    for step in network.steps:
        layer = network.ops[step.name]
        if not isinstance(layer, WeightedLayer):
            continue
        integers = layer.integers(formats[step.inputs[0]])
        with torch.no_grad():
            real = reference.ops[step.name].folded_weight()
            steps = power_of_two(integers.exponent, torch.float64)
            steps = steps.reshape(-1, *(1,) * (real.dim() - 1))
            difference = (integers.codes * steps - real).square().sum()
        yield step.name, _relative(float(difference), float(real.square().sum()))


def _activation_errors(
    network: QuantNetwork, reference: QuantNetwork, batches: list[np.ndarray]
) -> Iterator[tuple[str, float | None]]:
    differences: dict[str, float] = {}
    norms: dict[str, float] = {}
    for batch in batches:
        x = torch.from_numpy(batch).double()
        quantized = network.trace(x)
        for step, real in real_values(reference, x).items():
            if isinstance(network.ops[step], TrainingOp):
                continue
            # An operation with an accumulator gives its activation a name of its own.
            name = step + ".out" if step + ".out" in quantized else step
            difference = float((quantized[name] - real).square().sum())
            differences[name] = differences.get(name, 0.0) + difference
            norms[name] = norms.get(name, 0.0) + float(real.square().sum())
    for name, difference in differences.items():
        yield name, _relative(difference, norms[name])
