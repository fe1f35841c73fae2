"""The module of a model: its operators in order."""

from dataclasses import dataclass

from torch import Tensor, nn

from nbqnn_train.graph.errors import GraphError

# Importing the files of builders fills the table.
from nbqnn_train.models.from_onnx import functions, layers, shapes  # noqa: F401
from nbqnn_train.models.from_onnx.operator import BUILDERS, Part
from nbqnn_train.qonnx.importer import ADVICE
from nbqnn_train.qonnx.model import Model, Operator
from nbqnn_train.qonnx.refusals import Refusals

__all__ = ["OnnxNetwork", "built"]

#: Operators whose weights are learned.
_WEIGHTED = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])
_QUANTIZERS = frozenset(["BipolarQuant", "IntQuant", "Quant", "Trunc"])


@dataclass(frozen=True)
class _Step:
    """One call of a module, with the names of the tensors that it reads and gives."""

    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxNetwork(nn.Module):
    """A network in full precision. Each operator is a submodule with its name in the file.

    For each image of a batch it computes what the file computes for one image.
    """

    def __init__(self, inputs: dict[str, bool], outputs: tuple[str, ...]):
        super().__init__()
        #: Name of each input, and whether the file has channels last; the module has them first.
        self._inputs = inputs
        self._outputs = outputs
        self._steps: list[_Step] = []

    def add(self, operator: Operator, module: nn.Module, inputs: tuple[str, ...]) -> None:
        """Adds an operator that reads the tensors called ``inputs``."""
        base = "".join(c if c.isalnum() else "_" for c in operator.name).strip("_") or "operator"
        name, number = base, 0
        while hasattr(self, name):
            number += 1
            name = f"{base}_{number}"
        self.add_module(name, module)
        self._steps.append(_Step(name, inputs, operator.outputs))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        values: dict[str, Tensor] = {}
        for (name, last), value in zip(self._inputs.items(), inputs, strict=True):
            values[name] = value.permute(0, 2, 3, 1) if last else value
        for step in self._steps:
            result = getattr(self, step.module)(*(values[name] for name in step.inputs))
            if isinstance(result, Tensor):
                values[step.outputs[0]] = result
            else:
                values.update(zip(step.outputs, result, strict=True))
        results = tuple(values[name] for name in self._outputs)
        return results[0] if len(results) == 1 else results


def built(model: Model) -> OnnxNetwork:
    """The module of ``model``.

    Raises :class:`GraphError` that names each kind of operator that is not supported.
    """
    inputs = {item.name: item.channels_last for item in model.inputs}
    network = OnnxNetwork(inputs, model.outputs)
    refusals = Refusals()
    parameters: dict[tuple, nn.Parameter] = {}
    #: Tensors that depend on weights.
    weighted: set[str] = set()
    for operator in model.operators:
        if operator.kind in _WEIGHTED or weighted.intersection(operator.inputs):
            weighted.update(operator.outputs)
        learns = bool(weighted.intersection(operator.inputs))
        try:
            module = _builder(operator)(Part(operator, model, learns, parameters))
        except GraphError as error:
            refusals.add(error)
            continue
        values = [name for name in operator.inputs if name and name not in model.constants]
        network.add(operator, module, tuple(values))
    if refusals:
        raise refusals.error()
    for name in model.outputs:
        if name in model.constants:
            raise GraphError(f"Output {name!r} must depend on the input")
    return network.eval()


def _builder(operator: Operator):
    found = None if operator.domain else BUILDERS.get(operator.kind)
    if found is not None:
        return found
    if operator.kind in _QUANTIZERS or operator.kind.endswith("QuantizeLinear"):
        advice = "; the network is quantized: nbqnn import reads it"
    else:
        advice = "; " + ADVICE[operator.kind] if operator.kind in ADVICE else ""
    domain = f" of domain {operator.domain[:60]!r}" if operator.domain else ""
    raise GraphError(f"{operator.what}: this operator{domain} is not supported{advice}")
