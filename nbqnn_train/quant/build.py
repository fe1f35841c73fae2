"""Fuses what was read of a network into the units of a quantized one."""

import math

import torch
from torch import Tensor, nn

from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.affine import AffineNorm
from nbqnn_train.quant.config import LayerConfig, QuantConfig
from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.network import QuantNetwork, Step
from nbqnn_train.quant.norm import NormOp
from nbqnn_train.quant.operators.build import OPERATORS
from nbqnn_train.quant.operators.regions import AdaptiveAverageOp, AdaptiveMaxOp
from nbqnn_train.quant.operators.table import TableOp
from nbqnn_train.quant.ops import (
    AddOp,
    AvgPoolOp,
    ClipOp,
    ConcatOp,
    FlattenOp,
    InputOp,
    MaxPoolOp,
    TrainingOp,
)
from nbqnn_train.quant.reading.operations import Operation, Reading
from nbqnn_train.quant.transposed import TransposedGeometry, turned
from nbqnn_train.quant.weighted import Geometry, WeightedLayer
from nbqnn_train.quant.window import Window

__all__ = ["Builder", "build_network"]

_NO_LIMITS = (-math.inf, math.inf)


def build_network(reading: Reading, config: QuantConfig) -> QuantNetwork:
    """The quantized network of what was read.

    Parameters that the module uses twice are one parameter here, too.
    """
    return Builder(reading, config).build()


class Builder:
    """Emits an operation of the quantized network for each unit."""

    def __init__(self, reading: Reading, config: QuantConfig):
        self.reading = reading
        self.config = config
        self.mode = Mode()
        self.users: dict[str, list[Operation]] = {o.name: [] for o in reading.operations}
        for operation in reading.operations:
            for source in operation.inputs:
                self.users[source].append(operation)
        self.outputs = {output.name for output in reading.outputs}
        #: Operations that became part of an earlier unit, and the key of that unit.
        self.absorbed: dict[str, str] = {}
        self.ops: dict[str, nn.Module] = {}
        self.steps: list[Step] = []
        #: Parameters and norms by what they were made of: what is shared stays shared.
        self.parameters: dict[tuple, nn.Parameter] = {}
        self.norms: dict[int, nn.Module] = {}

    def build(self) -> QuantNetwork:
        for operation in self.reading.operations:
            if operation.name not in self.absorbed:
                self._build(operation)
        self._see_readers()
        outputs = tuple(self._key(output.name) for output in self.reading.outputs)
        if self.config.output_bits is not None:
            for name in outputs:
                self._holder(name).bits = self.config.output_bits
        return QuantNetwork(self.ops, self.steps, outputs, self.mode, self.reading)

    def _build(self, operation: Operation) -> None:
        build = OPERATORS.get(operation.kind)
        if build is not None:
            self.emit(operation, build(self, operation))
        else:
            getattr(self, f"_{operation.kind}")(operation)

    def _see_readers(self) -> None:
        """What one operation alone reads gets the format that is best for that one's results.

        So it is for tables, and for depthwise layers: batch norm behind one undoes any scale of a
        channel, so channels in front of it may differ by orders of magnitude.
        """
        readers: dict[str, list[str]] = {}
        for step in self.steps:
            for source in step.inputs:
                readers.setdefault(source, []).append(step.name)
        for step in reversed(self.steps):
            op, (source, *_) = self.ops[step.name], (*step.inputs, None)
            alone = len(readers.get(source, ())) == 1 and source not in self.outputs
            if not alone or not hasattr(self.ops[source], "out"):
                continue
            read = self.ops[source].out
            if isinstance(op, TableOp):
                read.error, read.weights = op.error, op.out.weights
            elif isinstance(op, WeightedLayer) and op.is_depthwise:
                read.weights = op.channel_weights

    def _holder(self, name: str) -> ActivationQuantizer:
        """The quantizer that sets the format of an operation's value."""
        inputs = {step.name: step.inputs for step in self.steps}
        while not hasattr(self.ops[name], "out"):
            name = inputs[name][0]
        return self.ops[name].out

    def _key(self, name: str) -> str:
        return self.absorbed.get(name, name)

    def emit(self, operation: Operation, op: nn.Module) -> None:
        self.ops[operation.name] = op
        inputs = tuple(self._key(source) for source in operation.inputs)
        last = [name for name, key in self.absorbed.items() if key == operation.name]
        self.steps.append(Step(operation.name, inputs, last[-1] if last else operation.name))

    def _absorb_next(self, last: Operation, into: Operation, *kinds: str) -> Operation | None:
        """The operation after ``last`` where it is of ``kinds`` and nothing else needs ``last``."""
        users = self.users[last.name]
        if len(users) != 1 or users[0].kind not in kinds or last.name in self.outputs:
            return None
        self.absorbed[users[0].name] = into.name
        return users[0]

    def absorb_limits(self, last: Operation, into: Operation) -> tuple[float, float]:
        relu = self._absorb_next(last, into, "relu")
        return _NO_LIMITS if relu is None else relu.settings["limits"]

    def quantizer(self, layer: LayerConfig, limits=_NO_LIMITS) -> ActivationQuantizer:
        return ActivationQuantizer(
            layer.act_bits, self.mode, limits=limits, percentile=layer.percentile
        )

    def out(self, operation: Operation) -> ActivationQuantizer:
        """The quantizer of what ``operation`` gives, with the limits that follow it."""
        limits = self.absorb_limits(operation, operation)
        return self.quantizer(self.config.for_layer(operation.path), limits)

    def parameter(self, tensor: Tensor | None, shape: tuple[int, ...] | None = None):
        """A latent parameter with the values of ``tensor``; the same one for the same tensor."""
        if tensor is None:
            return None
        shape = tuple(tensor.shape) if shape is None else shape
        key = id(tensor), shape
        if key not in self.parameters:
            values = tensor.detach().clone().reshape(shape)
            self.parameters[key] = nn.Parameter(values, _learns(tensor))
        return self.parameters[key]

    def _norm_of(self, operation: Operation) -> nn.Module:
        if operation.kind == "affine":
            return self._affine_of(operation)
        tensors = operation.tensors
        key = id(tensors["mean"])
        if key not in self.norms:
            self.norms[key] = self._batch_norm(operation)
        return self.norms[key]

    def _batch_norm(self, operation: Operation) -> nn.Module:
        tensors, settings = operation.tensors, operation.settings
        kind = nn.BatchNorm2d if len(operation.shape) == 3 else nn.BatchNorm1d
        norm = kind(len(tensors["mean"]), settings["eps"], settings["momentum"], affine=False)
        norm.affine = tensors["weight"] is not None
        norm.weight = self.parameter(tensors["weight"])
        norm.bias = self.parameter(tensors["bias"])
        norm.running_mean = tensors["mean"].detach().clone()
        norm.running_var = tensors["var"].detach().clone()
        if tensors["tracked"] is not None:
            norm.num_batches_tracked = tensors["tracked"].detach().clone()
        return norm

    def _affine_of(self, operation: Operation) -> AffineNorm:
        def kept(tensor: Tensor | None) -> Tensor | None:
            if isinstance(tensor, nn.Parameter):
                return self.parameter(tensor)
            return None if tensor is None else tensor.to(torch.get_default_dtype())

        tensors = operation.tensors
        return AffineNorm(operation.shape[0], kept(tensors["scale"]), kept(tensors["offset"]))

    # Kinds of operations.

    def _input(self, operation: Operation) -> None:
        self.emit(operation, InputOp(self.quantizer(self.config.for_inputs())))

    def _conv(self, operation: Operation) -> None:
        settings = operation.settings
        geometry = Geometry(
            settings["stride"], settings["padding"], settings["dilation"], settings["groups"]
        )
        self._weighted(operation, geometry)

    def _conv_transpose(self, operation: Operation) -> None:
        names = "stride", "padding", "dilation", "groups", "output_padding"
        geometry = TransposedGeometry(**{name: operation.settings[name] for name in names})
        self._weighted(operation, geometry)

    def _linear(self, operation: Operation) -> None:
        self._weighted(operation, None)

    def _weighted(self, operation: Operation, geometry) -> None:
        layer = self.config.for_layer(operation.path)
        norm = self._absorb_next(operation, operation, "norm", "affine")
        limits = self.absorb_limits(norm or operation, operation)
        tensors = operation.tensors
        unit = WeightedLayer(
            self._weight(operation, geometry),
            self.parameter(tensors["bias"]),
            None if norm is None else self._norm_of(norm),
            kept=_kept(operation, geometry),
            geometry=geometry,
            bits=layer.weight_bits,
            out=self.quantizer(layer, limits),
            mode=self.mode,
            shift_mode=self.config.requant_mode == "shift",
            per_tensor=layer.weight_exponents == "tensor",
            estimator_name=self.config.estimator,
        )
        self.emit(operation, unit)

    def _weight(self, operation: Operation, geometry) -> nn.Parameter:
        tensor, shape = operation.tensors["weight"], operation.settings["weight_shape"]
        columns = operation.settings.get("columns")
        if columns is None and not isinstance(geometry, TransposedGeometry):
            return self.parameter(tensor, shape)
        key = id(tensor), "arranged", columns, shape
        if key not in self.parameters:
            values = _arranged(tensor.detach(), operation, geometry).clone()
            self.parameters[key] = nn.Parameter(values, _learns(tensor))
        return self.parameters[key]

    def _norm(self, operation: Operation) -> None:
        out = self.quantizer(
            self.config.for_layer(operation.path), self.absorb_limits(operation, operation)
        )
        shift_mode = self.config.requant_mode == "shift"
        self.emit(operation, NormOp(self._norm_of(operation), out, shift_mode=shift_mode))

    def _affine(self, operation: Operation) -> None:
        self._norm(operation)

    def _relu(self, operation: Operation) -> None:
        self.emit(operation, ClipOp(operation.settings["limits"]))

    def _max_pool(self, operation: Operation) -> None:
        kind = MaxPoolOp if operation.settings.get("size") is None else AdaptiveMaxOp
        self.emit(operation, kind(_window(operation)))

    def _avg_pool(self, operation: Operation) -> None:
        out = self.quantizer(
            self.config.for_layer(operation.path), self.absorb_limits(operation, operation)
        )
        kind = AvgPoolOp if operation.settings.get("size") is None else AdaptiveAverageOp
        self.emit(operation, kind(out, _window(operation)))

    def _add(self, operation: Operation) -> None:
        self.emit(operation, AddOp(self.out(operation)))

    def _concat(self, operation: Operation) -> None:
        self.emit(operation, ConcatOp(self.quantizer(self.config.for_layer(operation.path))))

    def _flatten(self, operation: Operation) -> None:
        self.emit(operation, FlattenOp())

    def _select(self, operation: Operation) -> None:
        settings = operation.settings
        channels = operation.shape[0] - sum(settings["channels"])
        op = FixedConvOp(channels, settings["channels"], settings["stride"], settings["padding"])
        self.emit(operation, op)

    def _training(self, operation: Operation) -> None:
        self.emit(operation, TrainingOp(operation.module, self.mode))


def _learns(tensor: Tensor) -> bool:
    """Whether a latent parameter learns: constants that stand for weights do."""
    return tensor.requires_grad if isinstance(tensor, nn.Parameter) else True


def _window(operation: Operation) -> Window:
    return Window(**operation.settings, path=operation.path or operation.name)


def _kept(operation: Operation, geometry) -> Tensor | None:
    """Which weights are not held at zero, in the shape of the layer's weights."""
    kept = operation.tensors.get("kept")
    return None if kept is None else _arranged(kept, operation, geometry)


def _arranged(weights: Tensor, operation: Operation, geometry) -> Tensor:
    """``weights`` of the module in the shape and order of the layer's."""
    if isinstance(geometry, TransposedGeometry):
        weights = turned(weights, geometry.groups)
    weights = weights.reshape(operation.settings["weight_shape"])
    columns = operation.settings.get("columns")
    return weights if columns is None else weights[:, list(columns)]
