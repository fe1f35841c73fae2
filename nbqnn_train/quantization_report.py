"""What quantization did to a network: its weights and activations beside full precision."""

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.export import export_graph
from nbqnn_train.graph.summary import summarize
from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.norm import NormOp
from nbqnn_train.quant.ops import (
    AddOp,
    AvgPoolOp,
    ClipOp,
    ConcatOp,
    FlattenOp,
    InputOp,
    MaxPoolOp,
)
from nbqnn_train.quant.weighted import WeightedLayer
from nbqnn_train.quant.weights import power_of_two

__all__ = ["float_values", "quantization_errors", "report_quantization"]


def report_quantization(
    network: QuantNetwork, batches: list[np.ndarray], reference: QuantNetwork | None = None
) -> dict:
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
    nodes = {node["name"]: node for node in summary["nodes"]}
    weights, activations = quantization_errors(network, batches, reference)
    for key, errors in (("weight_error", weights), ("error", activations)):
        for name, error in errors.items():
            nodes[name][key] = error
    return summary


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
        for step, real in float_values(reference, x).items():
            # An operation with an accumulator gives its activation a name of its own.
            name = step + ".out" if step + ".out" in quantized else step
            difference = float((quantized[name] - real).square().sum())
            differences[name] = differences.get(name, 0.0) + difference
            norms[name] = norms.get(name, 0.0) + float(real.square().sum())
    for name, difference in differences.items():
        yield name, _relative(difference, norms[name])


def float_values(network: QuantNetwork, x: Tensor) -> dict[str, Tensor]:
    """The value of each step of ``network`` without any quantization, by the step's key.

    Weights are those before projection, averages are exact, batch norm has its running statistics.
    """
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for step in network.steps:
            op = network.ops[step.name]
            inputs = [values[source] for source in step.inputs] or [x]
            values[step.name] = _REAL[type(op)](op, *inputs)
    return values


def _normalized(norm: nn.Module, value: Tensor) -> Tensor:
    return F.batch_norm(
        value, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


def _weighted(op: WeightedLayer, value: Tensor) -> Tensor:
    if op.geometry is None:
        value = F.linear(value, op.weight, op.bias)
    else:
        value = op.geometry.convolve(value, op.weight)
        if op.bias is not None:
            value = value + op.bias[:, None, None]
    return op.out.clamp(value if op.norm is None else _normalized(op.norm, value))


def _average(op: AvgPoolOp, value: Tensor) -> Tensor:
    kernel, stride = op.windows(*value.shape[2:])
    return op.out.clamp(F.avg_pool2d(value, kernel, stride, op.padding))


#: Each operation in full precision.
_REAL: dict[type[nn.Module], Callable[..., Tensor]] = {
    InputOp: lambda op, value: value,
    WeightedLayer: _weighted,
    FixedConvOp: lambda op, value: op.copied(value),
    NormOp: lambda op, value: op.out.clamp(_normalized(op.norm, value)),
    ClipOp: lambda op, value: value.clamp(*op.limits),
    MaxPoolOp: lambda op, value: F.max_pool2d(value, op.kernel, op.stride, op.padding),
    AvgPoolOp: _average,
    AddOp: lambda op, a, b: op.out.clamp(a + b),
    ConcatOp: lambda op, *values: torch.cat(values, dim=1),
    FlattenOp: lambda op, value: value.flatten(1),
}
