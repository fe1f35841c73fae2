"""Functions without a value for what rounding makes of their input: refused before a training."""

import torch
from torch import Tensor

from nbqnn_train.quant.calibration import negative_steps
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.operators.table import TableOp
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal

__all__ = ["check_domains"]

#: Just below zero: a code of every signed format is there or further away.
_BELOW = -(2.0**-20)


def check_domains(network: QuantNetwork, name: str) -> None:
    """Raises :class:`NetworkRefused` for functions that are not finite at zero, which every format
    has, or just below, where their input can be negative whatever the network's inputs are.

    name : of the module, for the message.
    """
    signed = negative_steps(network)
    by_name = {operation.name: operation for operation in network.reading.operations}
    refusals = []
    for step in network.steps:
        op = network.ops[step.name]
        if not isinstance(op, TableOp):
            continue
        points = [0.0, _BELOW] if step.inputs[0] in signed else [0.0]
        results = op.function.exactly(torch.tensor(points, dtype=torch.float64))
        if bool(torch.isfinite(results).all()):
            continue
        operation = by_name[step.name]
        refusals.append(
            Refusal(
                "operation",
                operation.path,
                operation.source,
                operation.operation,
                f"{op.function.label} of a value that rounding can make {_shown(results)}",
                "keep it where the function is finite: x.clamp(min=0.001)",
            )
        )
    if refusals:
        raise NetworkRefused(name, refusals)


def _shown(results: Tensor) -> str:
    return "negative" if bool(torch.isfinite(results[0])) else "0"
