"""A quantized network: operations in order, and the values that flow between them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.operators.order import MoveOp
from nbqnn_train.quant.ops import AddOp, FlattenOp, MaxPoolOp
from nbqnn_train.quant.origin import Origin
from nbqnn_train.quant.reading.operations import Join, Part, Reading
from nbqnn_train.quant.saturating import widened
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["QuantNetwork", "Step"]

#: Operations that lose nothing where the codes of their inputs are bfloat16.
_TAKE_HALF_WIDTH = (WeightedLayer, AddOp, MaxPoolOp, FlattenOp, FixedConvOp, MoveOp)


@dataclass(frozen=True)
class Step:
    """One operation: its key among the network's operations and the keys that it reads.

    last : name of the last of the module's operations that it fuses.
    """

    name: str
    inputs: tuple[str, ...]
    last: str


class QuantNetwork(nn.Module):
    """What :func:`nbqnn_train.convert.convert` makes of a module.

    In training mode it computes what its :class:`Mode` says. In evaluation mode it always computes
    the exported graph: to the bit when its values are float64 (``network.double()``). It takes the
    inputs of the module and returns what the module returns, in the same nesting and shapes.

    Parameters
    ----------
    ops : operations by key; the first ones take the inputs.
    steps : in topological order.
    outputs : keys of the steps whose values the network returns.
    reading : what was read of the module.

    Attributes
    ----------
    final : for each output what the module applies last and the network leaves out: "none",
        "softmax", "log_softmax", "sigmoid" or "argmax".
    notes : what was noticed while the module was read, one line each.
    """

    def __init__(
        self,
        ops: dict[str, nn.Module],
        steps: list[Step],
        outputs: tuple[str, ...],
        mode: Mode,
        reading: Reading,
    ):
        super().__init__()
        self.ops = nn.ModuleDict(ops)
        self.steps = tuple(steps)
        self.outputs = outputs
        self.mode = mode
        self.reading = reading
        self.final = tuple(output.final for output in reading.outputs)
        self.notes = tuple(reading.notes)
        #: Where the network comes from; set by what converts it.
        self.origin: Origin | None = None
        self._find_last_uses()

    def _find_last_uses(self) -> None:
        """Maps each step to the last step that reads it. Values of outputs are kept."""
        self._last_use = {source: step.name for step in self.steps for source in step.inputs}
        self._last_use |= dict.fromkeys(self.outputs, "")

    @property
    def output(self) -> str:
        """Key of the step whose value is the (first) output."""
        return self.outputs[0]

    def forward(self, *args, **kwargs):
        tensors, parts = self._taken(args, kwargs)
        results = self._arranged(self._run(tensors, None), parts)
        for place in self.reading.absent:
            results.insert(place, None)
        return pytree.tree_unflatten(results, self.reading.out_spec)

    def trace(self, *args, **kwargs) -> dict[str, Tensor]:
        """Real values of every node of the exported graph, by its name; in evaluation mode."""
        if self.training:
            raise RuntimeError("Network must be in evaluation mode to be traced")
        values: dict[str, Tensor] = {}
        with torch.no_grad():
            self._run(self.tensors(*args, **kwargs), values)
        return values

    def flatten_input(self, flat: str, reading: Reading) -> None:
        """Puts a flattening called ``flat`` behind the only input.

        The network was read with vectors; ``reading`` is what was read with maps.
        """
        first = self.steps[0].name
        self.ops[flat] = FlattenOp()
        rest = [
            Step(step.name, tuple(flat if s == first else s for s in step.inputs), step.last)
            for step in self.steps[1:]
        ]
        self.steps = (self.steps[0], Step(flat, (first,), flat), *rest)
        self.reading = reading
        self._find_last_uses()

    def compute_like(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Computes one input of zeros of ``shapes``, which leave out the batch."""
        parameter = next(self.parameters(), torch.zeros(()))
        zeros = [
            torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device)
            for shape in shapes
        ]
        self._results(shapes)
        self._run(self._named(zeros), None)

    def tensors(self, *args, **kwargs) -> dict[str, Tensor]:
        """The inputs by the key of the step that takes them, in the shape that it has.

        Raises :class:`NbqnnError` where they are not what the module takes, or of a size for which
        the module computes something else than what was read.
        """
        return self._taken(args, kwargs)[0]

    def returned(
        self, values: dict[str, Tensor], shapes: tuple[tuple[int, ...], ...]
    ) -> list[Tensor]:
        """What the module returns, flat, from the values of the steps for inputs of ``shapes``."""
        return self._arranged(values, self._results(shapes))

    def _results(self, shapes: tuple[tuple[int, ...], ...]) -> list[Part | Join]:
        if self.origin is not None:
            return self.origin.results(self, shapes)
        return self.reading.results

    def _taken(self, args: tuple, kwargs: dict) -> tuple[dict[str, Tensor], list[Part | Join]]:
        """Inputs by key, and what is returned for inputs of this size."""
        given, spec = pytree.tree_flatten((args, kwargs))
        found = [leaf for leaf in given if isinstance(leaf, Tensor)]
        names = list(self.reading.inputs)
        if len(found) != len(names) or (len(names) > 1 and spec != self.reading.in_spec):
            raise NbqnnError(
                f"Network must be given {len(names)} tensors as the module is ({', '.join(names)}),"
                f" not {len(found)}"
            )
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in found)
        results = self._results(shapes)
        return self._named(found), results

    def _named(self, given: list[Tensor]) -> dict[str, Tensor]:
        """Inputs by key, series as maps of height 1."""
        return {
            name: tensor.unsqueeze(2) if tensor.dim() == 3 else tensor
            for name, tensor in zip(self.reading.inputs, given, strict=True)
        }

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

    def run_steps(self, tensors: dict[str, Tensor], compute: Callable) -> dict[str, Tensor]:
        """All values by the steps' keys; ``compute(op, *inputs)`` gives each."""
        values: dict[str, Tensor] = {}
        for step in self.steps:
            inputs = [values[source] for source in step.inputs] or [tensors[step.name]]
            values[step.name] = compute(self.ops[step.name], *inputs)
        return values

    def _run(
        self, tensors: dict[str, Tensor], trace: dict[str, Tensor] | None
    ) -> dict[str, Tensor]:
        calibrated = self.calibrated
        if not (calibrated or self.training or self.mode.calibrating):
            raise NbqnnError("Network must be calibrated before it is evaluated")
        known = self.formats() if calibrated else {}
        values: dict[str, Tensor] = {}
        for step in self.steps:
            op = self.ops[step.name]
            inputs = [values[source] for source in step.inputs] or [tensors[step.name]]
            if self.training and not isinstance(op, _TAKE_HALF_WIDTH):
                inputs = [widened(value) for value in inputs]
            sources = [known.get(source) for source in step.inputs]
            record = None if trace is None else _recorder(trace, step.name)
            values[step.name] = op(inputs, sources, record)
            if trace is not None:
                inner = trace.get(step.name)
                trace[step.name if inner is None else step.name + ".out"] = values[step.name]
            for source in step.inputs:
                if self._last_use[source] == step.name:
                    values.pop(source, None)
        return values

    def _arranged(self, values: dict[str, Tensor], results: list[Part | Join]) -> list[Tensor]:
        outputs = [values[key] for key in self.outputs]
        if self.training:
            outputs = [widened(value) for value in outputs]
        return [result.of(outputs) for result in results]


def _recorder(trace: dict[str, Tensor], name: str) -> Callable[[str, Tensor], None]:
    def record(suffix: str, value: Tensor) -> None:
        trace[name + suffix] = value

    return record
