"""Exports the integer graph to QONNX.

Tensors of the model hold real values, ``code * 2**exponent``. All arithmetic is written with
standard operators whose floating-point results are exact; ``Quant`` nodes state the format of
weights and activations. They round integers only, and so change nothing. Every tool that evaluates
the model in its declared types gives the interpreter's codes, also without the ``Quant`` nodes.

How each step is exact:

- a convolution or product runs in float32 on operands whose sums of absolute values stay within
  2**24 steps; wider activations are cut into digits first, and the digits' sums added in float64;
- a requantizer runs in float32 where its sums stay within 2**24, in float64 where they stay within
  2**53, and rounds with ``Floor``;
- average pooling is a depthwise convolution with the weight ``multiplier * 2**-shift``.
"""

import os
from pathlib import Path

import numpy as np

from nbqnn_train.graph.bounds import NodeBounds, graph_bounds
from nbqnn_train.graph.checks import label
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import tensor_types
from nbqnn_train.graph.nodes import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    TensorType,
)
from nbqnn_train.graph.validate import validate

from .model import require_onnx
from .operator_export import OperatorWriter
from .writer import Tensor, write_model

__all__ = ["export_qonnx"]

#: Exponents of steps with which every intermediate value is a normal float32.
_EXPONENTS = range(-90, 91)


def export_qonnx(
    graph: Graph, path: str | os.PathLike, *, batch: int | None = None, quantizers: bool = True
) -> None:
    """Writes ``graph`` as a QONNX model.

    Inputs and outputs have the names of their nodes and hold real values, float32, of ``batch``
    images. None allows any number of images. The tensor of any other node has the node's name; that
    of an Input is ``NAME#quantized``. ``quantizers=False`` leaves the ``Quant`` nodes out: plain
    ONNX with the same values.

    Raises :class:`GraphError` for a graph that is not valid, or whose sums do not fit floating
    point.
    """
    validate(graph)
    onnx = require_onnx()
    writer = _Exporter(graph, batch, quantizers)
    for node in graph.nodes:
        writer.add(node)
    model = writer.model()
    onnx.checker.check_model(model, full_check=not quantizers)
    write_model(Path(path), model.SerializeToString(deterministic=True))


class _Exporter(OperatorWriter):
    """Writes each node of a graph as operators of the model."""

    def __init__(self, graph: Graph, batch: int | None, quantizers: bool):
        super().__init__(graph, batch, quantizers)
        self.types: dict[str, TensorType] = tensor_types(graph)
        self.bounds: dict[str, NodeBounds] = graph_bounds(graph, self.types)

    def add(self, node: Node) -> None:
        """Appends what computes ``node``."""
        code = self.types[node.name]
        exponents = code.exponent if code.is_accumulator else (code.exponent,)
        for exponent in exponents:
            if exponent not in _EXPONENTS:
                raise GraphError(
                    f"{label(node)}: QONNX holds exponents {_EXPONENTS[0]}..{_EXPONENTS[-1]} only, "
                    f"not {exponent}"
                )
        sources = [self.tensors[source] for source in node.inputs]
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is None:
            raise GraphError(f"{label(node)}: must be a node that QONNX export has, not this kind")
        self.tensors[node.name] = rule(node, *sources)

    def _activation(self, node: Node, rounded: Tensor, low: int, high: int, name: str) -> Tensor:
        """Makes the activation ``name`` of rounded codes of any size."""
        code = self.types[node.name]
        kind = np.float64 if rounded.double else np.float32
        limits = [
            self.constant(f"{name}#{end}", np.array(v, kind))
            for end, v in (("low", low), ("high", high))
        ]
        clipped = self.op(
            "Clip", [rounded.name, *limits], Tensor(f"{name}#clipped", rounded.double), code.shape
        )
        clipped = self.cast(clipped, False, code.shape)
        step = self.scalar(f"{name}#step", 2.0**code.exponent)
        target = f"{name}#real" if self.quantizers else name
        real = self.op("Mul", [clipped.name, step], Tensor(target), code.shape)
        if not self.quantizers:
            return real
        self.quantizer(real.name, name, 2.0**code.exponent, code.bits, code.signed, False)
        self.infos[name] = self.info(name, code.shape, False)
        return Tensor(name)

    def _input(self, node: Input) -> Tensor:
        name, code = node.name, self.types[node.name]
        # In float64 because adding one half to a float32 rounds; see SPEC.md. A float32 has 24
        # bits, so the sum rounds only where the value is too small to matter for floor.
        x = self.op("Cast", [name], Tensor(f"{name}#double", True), code.shape, to=11)
        scale = self.scalar(f"{name}#scale_in", 2.0**-code.exponent, True)
        x = self.op("Mul", [x.name, scale], Tensor(f"{name}#steps", True), code.shape)
        if node.ties == "up":
            half = self.scalar(f"{name}#half", 0.5, True)
            x = self.op("Add", [x.name, half], Tensor(f"{name}#shifted", True), code.shape)
            x = self.op("Floor", [x.name], Tensor(f"{name}#floor", True), code.shape)
        elif node.ties == "even":
            x = self.op("Round", [x.name], Tensor(f"{name}#round", True), code.shape)
        else:
            one = self.scalar(f"{name}#one", 1.0, True)
            x = self.op("Sub", [x.name, one], Tensor(f"{name}#lower", True), code.shape)
            x = self.op("Round", [x.name], Tensor(f"{name}#round", True), code.shape)
            x = self.op("Add", [x.name, one], Tensor(f"{name}#back", True), code.shape)
        return self._activation(node, x, code.low, code.high, f"{name}#quantized")

    def digits(self, node: Node, x: Tensor, weight_sum: int) -> list[Tensor]:
        """``x`` as a sum of tensors. Each has so few steps that its weighted sum is exact."""
        code = self.types[node.inputs[0]]
        if self.bounds[node.name].magnitude <= 1 << 24:
            return [x]
        width = 24 - weight_sum.bit_length()
        if width < 1:
            raise GraphError(
                f"{label(node)}: float32 sums cannot hold weights of {weight_sum} in absolute "
                "terms exactly; QONNX takes at most 8388607"
            )
        digits, rest = [], x
        start = (code.bits - 1) // width * width
        for position in range(start, 0, -width):
            name = f"{node.name}#digit{position}"
            step = 2.0 ** (code.exponent + position)
            up = self.scalar(f"{name}#up", step)
            down = self.scalar(f"{name}#down", 1 / step)
            digit = self.op("Mul", [rest.name, down], Tensor(f"{name}#steps"), code.shape)
            digit = self.op("Floor", [digit.name], Tensor(f"{name}#floor"), code.shape)
            digit = self.op("Mul", [digit.name, up], Tensor(name), code.shape)
            rest = self.op("Sub", [rest.name, digit.name], Tensor(f"{name}#rest"), code.shape)
            digits.append(digit)
        return [*digits, rest]

    def total(self, node: Node, parts: list[Tensor]) -> Tensor:
        """The tensor of ``node``: the sum of ``parts``, in float64 where there are several."""
        shape = self.types[node.name].shape
        if len(parts) == 1:
            return parts[0]
        total = self.cast(parts[0], True, shape)
        for number, part in enumerate(parts[1:], 1):
            last = number == len(parts) - 1
            target = Tensor(node.name if last else f"{node.name}#sum{number}", True)
            other = self.cast(part, True, shape)
            total = self.op("Add", [total.name, other.name], target, shape)
        return total

    def _weight(self, node: Conv2d | Linear) -> str:
        """Name of the tensor that holds the real weights, for Linear transposed to (Fin, Fout)."""
        exponent = np.reshape(node.weight_exponent, (-1, *(1,) * (node.weight.ndim - 1)))
        real = np.ldexp(node.weight.astype(np.float64), exponent)
        scale = np.ldexp(1.0, exponent)
        if isinstance(node, Linear):
            real, scale = real.T, scale.T
        if not self.quantizers:
            return self.constant(f"{node.name}#weight", real.astype(np.float32))
        source = self.constant(f"{node.name}#weight_float", real.astype(np.float32))
        # A sign and enough bits for the largest magnitude.
        bits = (1 << (node.weight_bits - 1)) - 2 + 2
        self.quantizer(source, f"{node.name}#weight", scale, bits, True, True)
        from onnx import TensorProto, helper

        name = f"{node.name}#weight"
        self.infos[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, real.shape)
        return name

    def part(self, node: Node, parts: int, number: int) -> Tensor:
        return Tensor(node.name if parts == 1 else f"{node.name}#part{number}")

    def _conv2d(self, node: Conv2d, x: Tensor) -> Tensor:
        weight = self._weight(node)
        weight_sum = int(np.abs(node.weight).sum(axis=(1, 2, 3)).max())
        return self._convolution(
            node, x, weight, node.weight.shape[2:], weight_sum, node.groups, node.dilation
        )

    def _avgpool2d(self, node: AvgPool2d, x: Tensor) -> Tensor:
        channels = self.types[node.input].shape[0]
        value = node.multiplier * 2.0**-node.shift
        weight = self.constant(
            f"{node.name}#weight", np.full((channels, 1, *node.kernel), value, np.float32)
        )
        weight_sum = node.multiplier * node.kernel[0] * node.kernel[1]
        return self._convolution(node, x, weight, node.kernel, weight_sum, channels, (1, 1))

    def _convolution(self, node, x, weight, kernel, weight_sum, groups, dilation) -> Tensor:
        digits = self.digits(node, x, weight_sum)
        parts = [
            self.op(
                "Conv",
                [digit.name, weight],
                self.part(node, len(digits), number),
                self.types[node.name].shape,
                kernel_shape=list(kernel),
                strides=list(node.stride),
                pads=list(node.padding),
                dilations=list(dilation),
                group=groups,
            )
            for number, digit in enumerate(digits)
        ]
        return self.total(node, parts)

    def _linear(self, node: Linear, x: Tensor) -> Tensor:
        weight = self._weight(node)
        digits = self.digits(node, x, int(np.abs(node.weight).sum(axis=1).max()))
        shape = self.types[node.name].shape
        parts = [
            self.op("MatMul", [digit.name, weight], self.part(node, len(digits), number), shape)
            for number, digit in enumerate(digits)
        ]
        return self.total(node, parts)

    def _maxpool2d(self, node: MaxPool2d, x: Tensor) -> Tensor:
        return self.op(
            "MaxPool",
            [x.name],
            Tensor(node.name),
            self.types[node.name].shape,
            kernel_shape=list(node.kernel),
            strides=list(node.stride),
            pads=list(node.padding),
        )

    def _add(self, node: Add, a: Tensor, b: Tensor) -> Tensor:
        shape = self.types[node.name].shape
        double = self.bounds[node.name].magnitude > 1 << 24
        operands = [self.cast(x, double, shape).name for x in (a, b)]
        return self.op("Add", operands, Tensor(node.name, double), shape)

    def _concat(self, node: Concat, *parts: Tensor) -> Tensor:
        shape = self.types[node.name].shape
        return self.op("Concat", [x.name for x in parts], Tensor(node.name), shape, axis=1)

    def _flatten(self, node: Flatten, x: Tensor) -> Tensor:
        shape = self.types[node.name].shape
        return self.op("Flatten", [x.name], Tensor(node.name), shape, axis=1)

    def _clip(self, node: Clip, x: Tensor) -> Tensor:
        code = self.types[node.name]
        step = 2.0**code.exponent
        limits = [
            self.scalar(f"{node.name}#{end}", value * step)
            for end, value in (("low", node.low), ("high", node.high))
        ]
        return self.op("Clip", [x.name, *limits], Tensor(node.name), code.shape)

    def _requantize(self, node: Requantize, x: Tensor) -> Tensor:
        name, source = node.name, self.types[node.input]
        offset = node.bias + ((1 << node.shift) >> 1)
        wide = max(abs(end) for end in self.bounds[name].wide)
        largest = wide + int(np.abs(offset).max())
        if largest > 1 << 53:
            raise GraphError(
                f"{label(node)}: float64 cannot hold acc * multiplier + bias + half exactly; QONNX "
                f"takes {-(1 << 53)}..{1 << 53}, not {largest}"
            )
        double = x.double or largest > 1 << 24
        x = self.cast(x, double, source.shape)
        # acc is in real units: multiplied by its step, it becomes codes on the way.
        column = (-1, *(1,) * (len(source.shape) - 1))
        exponent = np.reshape(np.broadcast_to(source.exponent, source.shape[:1]), column)
        multiplier, shift, offset = (
            values.reshape(column) for values in (node.multiplier, node.shift, offset)
        )
        kind = np.float64 if double else np.float32
        factor = np.ldexp(multiplier.astype(np.float64), -shift - exponent).astype(kind)
        offset = np.ldexp(offset.astype(np.float64), -shift).astype(kind)
        shape = source.shape
        factor = self.constant(f"{name}#factor", factor[np.newaxis])
        offset = self.constant(f"{name}#offset", offset[np.newaxis])
        x = self.op("Mul", [x.name, factor], Tensor(f"{name}#scaled", double), shape)
        x = self.op("Add", [x.name, offset], Tensor(f"{name}#shifted", double), shape)
        x = self.op("Floor", [x.name], Tensor(f"{name}#floor", double), shape)
        return self._activation(node, x, node.low, node.high, name)
