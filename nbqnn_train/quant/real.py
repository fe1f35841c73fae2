"""What a network computes without any quantization."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

__all__ = ["real_value", "real_values"]


def real_value(op: nn.Module, inputs: list[Tensor]) -> Tensor:
    """The value of one operation of a network for real ``inputs``, without any quantization.

    Weights are those before projection, averages are exact, batch norm has its running statistics.
    """
    return _REAL[type(op)](op, *inputs)


def real_values(network: QuantNetwork, x: Tensor) -> dict[str, Tensor]:
    """The :func:`real_value` of each step of ``network``, by the step's key."""
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for step in network.steps:
            inputs = [values[source] for source in step.inputs] or [x]
            values[step.name] = real_value(network.ops[step.name], inputs)
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
