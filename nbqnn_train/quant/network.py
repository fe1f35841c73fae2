"""A quantized network: operations in order, and the values that flow between them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["QuantNetwork", "Step"]


@dataclass(frozen=True)
class Step:
    """One operation: its key among the network's operations and the keys that it reads."""

    name: str
    inputs: tuple[str, ...]


class QuantNetwork(nn.Module):
    """What :func:`nbqnn_train.convert.convert` makes of a module.

    In training mode it computes what its :class:`Mode` says. In evaluation mode it always computes
    the exported graph: to the bit when its values are float64 (``network.double()``).

    Parameters
    ----------
    ops : operations by key; the first step's is an :class:`InputOp`.
    steps : in topological order.
    output : key of the step whose value is the network's.
    """

    def __init__(self, ops: dict[str, nn.Module], steps: list[Step], output: str, mode: Mode):
        super().__init__()
        self.ops = nn.ModuleDict(ops)
        self.steps = tuple(steps)
        self.output = output
        self.mode = mode
        self._last_use = {source: step.name for step in steps for source in step.inputs}
        self._last_use[output] = ""

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, None)

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Real values of every node of the exported graph, by its name; in evaluation mode."""
        if self.training:
            raise RuntimeError("Network must be in evaluation mode to be traced")
        values: dict[str, Tensor] = {}
        with torch.no_grad():
            self._run(x, values)
        return values

    def formats(self) -> dict[str, Format]:
        """The format of each step's value, by the step's key."""
        known: dict[str, Format] = {}
        for step in self.steps:
            quantizer = self.quantizer(step.name)
            known[step.name] = quantizer.format if quantizer else known[step.inputs[0]]
        return known

    def quantizer(self, name: str) -> ActivationQuantizer | None:
        """The quantizer of a step's value; None where it keeps its input's format."""
        return getattr(self.ops[name], "out", None)

    def quantizers(self) -> Iterable[ActivationQuantizer]:
        return (module for module in self.modules() if isinstance(module, ActivationQuantizer))

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        return {name: op for name, op in self.ops.items() if isinstance(op, WeightedLayer)}

    @property
    def calibrated(self) -> bool:
        return all(quantizer.calibrated for quantizer in self.quantizers())

    def _run(self, x: Tensor, trace: dict[str, Tensor] | None) -> Tensor:
        calibrated = self.calibrated
        if not (calibrated or self.training or self.mode.calibrating):
            raise NbqnnError("Network must be calibrated before it is evaluated")
        known = self.formats() if calibrated else {}
        values: dict[str, Tensor] = {}
        for step in self.steps:
            inputs = [values[source] for source in step.inputs] or [x]
            sources = [known.get(source) for source in step.inputs]
            record = None if trace is None else _recorder(trace, step.name)
            values[step.name] = self.ops[step.name](inputs, sources, record)
            if trace is not None:
                inner = trace.get(step.name)
                trace[step.name if inner is None else step.name + ".out"] = values[step.name]
            for source in step.inputs:
                if self._last_use[source] == step.name:
                    values.pop(source, None)
        return values[self.output]


def _recorder(trace: dict[str, Tensor], name: str) -> Callable[[str, Tensor], None]:
    def record(suffix: str, value: Tensor) -> None:
        trace[name + suffix] = value

    return record
