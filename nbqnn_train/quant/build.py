"""Fuses traced operations into the units of a quantized network."""

import math

from torch import nn

from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.config import LayerConfig, QuantConfig
from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.network import QuantNetwork, Step
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
from nbqnn_train.quant.tracing import Operation
from nbqnn_train.quant.weighted import Geometry, WeightedLayer

__all__ = ["build_network"]

_NO_LIMITS = (-math.inf, math.inf)


def build_network(operations: list[Operation], config: QuantConfig) -> QuantNetwork:
    """The quantized network of ``operations``, which are in topological order."""
    return _Builder(operations, config).build()


class _Builder:
    def __init__(self, operations: list[Operation], config: QuantConfig):
        self.operations = operations
        self.config = config
        self.mode = Mode()
        self.users: dict[str, list[Operation]] = {o.name: [] for o in operations}
        for operation in operations:
            for source in operation.inputs:
                self.users[source].append(operation)
        #: Traced operations that became part of an earlier unit, and the key of that unit.
        self.absorbed: dict[str, str] = {}
        self.ops: dict[str, nn.Module] = {}
        self.steps: list[Step] = []

    def build(self) -> QuantNetwork:
        for operation in self.operations:
            if operation.name not in self.absorbed:
                getattr(self, f"_{operation.kind}")(operation)
        output = self._key(self.operations[-1].name)
        return QuantNetwork(self.ops, self.steps, output, self.mode)

    def _key(self, name: str) -> str:
        return self.absorbed.get(name, name)

    def _emit(self, operation: Operation, op: nn.Module) -> None:
        self.ops[operation.name] = op
        inputs = tuple(self._key(source) for source in operation.inputs)
        self.steps.append(Step(operation.name, inputs))

    def _absorb_next(self, last: Operation, into: Operation, kind: str) -> Operation | None:
        """The operation after ``last`` where it is of ``kind`` and nothing else reads ``last``."""
        users = self.users[last.name]
        if len(users) != 1 or users[0].kind != kind:
            return None
        self.absorbed[users[0].name] = into.name
        return users[0]

    def _absorb_relu(self, last: Operation, into: Operation) -> tuple[float, float]:
        relu = self._absorb_next(last, into, "relu")
        return _NO_LIMITS if relu is None else relu.settings["limits"]

    def _quantizer(self, layer: LayerConfig, limits=_NO_LIMITS) -> ActivationQuantizer:
        return ActivationQuantizer(
            layer.act_bits, self.mode, limits=limits, percentile=layer.percentile
        )

    def _input(self, operation: Operation) -> None:
        self._emit(operation, InputOp(self._quantizer(self.config)))

    def _conv(self, operation: Operation) -> None:
        module = operation.module
        geometry = Geometry(
            tuple(module.stride),
            tuple(operation.settings["padding"]),
            tuple(module.dilation),
            module.groups,
        )
        self._weighted(operation, geometry)

    def _linear(self, operation: Operation) -> None:
        self._weighted(operation, None)

    def _weighted(self, operation: Operation, geometry: Geometry | None) -> None:
        layer = self.config.for_layer(operation.path)
        norm = self._absorb_next(operation, operation, "norm")
        limits = self._absorb_relu(norm or operation, operation)
        unit = WeightedLayer(
            operation.module.weight,
            operation.module.bias,
            None if norm is None else norm.module,
            geometry=geometry,
            bits=layer.weight_bits,
            out=self._quantizer(layer, limits),
            mode=self.mode,
            shift_mode=self.config.requant_mode == "shift",
            per_tensor=layer.weight_exponents == "tensor",
            estimator_name=self.config.estimator,
        )
        self._emit(operation, unit)

    def _norm(self, operation: Operation) -> None:
        out = self._quantizer(
            self.config.for_layer(operation.path), self._absorb_relu(operation, operation)
        )
        shift_mode = self.config.requant_mode == "shift"
        self._emit(operation, NormOp(operation.module, out, shift_mode=shift_mode))

    def _relu(self, operation: Operation) -> None:
        self._emit(operation, ClipOp(operation.settings["limits"]))

    def _max_pool(self, operation: Operation) -> None:
        self._emit(operation, MaxPoolOp(**operation.settings))

    def _avg_pool(self, operation: Operation) -> None:
        out = self._quantizer(
            self.config.for_layer(operation.path), self._absorb_relu(operation, operation)
        )
        path = operation.path or operation.name
        self._emit(operation, AvgPoolOp(out, path=path, **operation.settings))

    def _add(self, operation: Operation) -> None:
        limits = self._absorb_relu(operation, operation)
        self._emit(operation, AddOp(self._quantizer(self.config, limits)))

    def _concat(self, operation: Operation) -> None:
        self._emit(operation, ConcatOp(self._quantizer(self.config)))

    def _flatten(self, operation: Operation) -> None:
        self._emit(operation, FlattenOp())

    def _shortcut(self, operation: Operation) -> None:
        module = operation.module
        self._emit(operation, FixedConvOp(module.channels, module.padding, module.stride))
