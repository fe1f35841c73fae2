"""What a network computes without any quantization."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.norm import NormOp
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.ops import (
    AddOp,
    AvgPoolOp,
    ClipOp,
    ConcatOp,
    FlattenOp,
    InputOp,
    MaxPoolOp,
    TrainingOp,
    window_sums,
)
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["real_value", "real_values"]


def real_value(op: nn.Module, inputs: list[Tensor]) -> Tensor:
    """The value of one operation of a network for real ``inputs``, without any quantization.

    Weights are those before projection, averages are exact, batch norm has its running statistics,
    nothing is dropped out. All is computed in the type of the inputs.
    """
    return op.real(*inputs) if isinstance(op, Operator) else _REAL[type(op)](op, *inputs)


def real_values(network: QuantNetwork, *args, **kwargs) -> dict[str, Tensor]:
    """The :func:`real_value` of each step of ``network``, by the step's key."""
    with torch.no_grad():
        tensors = network.tensors(*args, **kwargs)
        return network.run_steps(tensors, lambda op, *inputs: real_value(op, list(inputs)))


def _like(tensor: Tensor | None, value: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.to(value.dtype)


def _normalized(norm: nn.Module, value: Tensor) -> Tensor:
    numbers = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return F.batch_norm(value, *(_like(tensor, value) for tensor in numbers), eps=norm.eps)


def _weighted(op: WeightedLayer, value: Tensor) -> Tensor:
    weight, bias = _like(op.latent, value), _like(op.bias, value)
    if op.geometry is None:
        value = F.linear(value, weight, bias)
    else:
        value = op.geometry.convolve(value, weight)
        if bias is not None:
            value = value + bias[:, None, None]
    return op.out.clamp(value if op.norm is None else _normalized(op.norm, value))


def _average(op: AvgPoolOp, value: Tensor) -> Tensor:
    kernel, stride, padding = op.window.at(*value.shape[2:])
    return op.out.clamp(window_sums(value, kernel, stride, padding) / (kernel[0] * kernel[1]))


#: Each operation in full precision.
_REAL: dict[type[nn.Module], Callable[..., Tensor]] = {
    InputOp: lambda op, value: value,
    WeightedLayer: _weighted,
    FixedConvOp: lambda op, value: op.copied(value),
    NormOp: lambda op, value: op.out.clamp(_normalized(op.norm, value)),
    ClipOp: lambda op, value: value.clamp(*op.limits),
    MaxPoolOp: lambda op, value: op([value], [None]),
    AvgPoolOp: _average,
    AddOp: lambda op, a, b: op.out.clamp(a + b),
    ConcatOp: lambda op, *values: torch.cat(values, dim=1),
    FlattenOp: lambda op, value: value.flatten(1),
    TrainingOp: lambda op, value: value,
}
