"""From a trained quantized network to the integer graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from nbqnn_train.graph.bounds import accumulator_bounds, required_bits
from nbqnn_train.graph.checks import label
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.limits import ACC_BITS
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
)
from nbqnn_train.graph.operators import ConvTranspose2d
from nbqnn_train.graph.validate import validate
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.finite import check_finite
from nbqnn_train.quant.fixed import FixedConvOp
from nbqnn_train.quant.fold import Requantization
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.network import QuantNetwork, Step
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
    average_multiplier,
    block_name,
    mean_stages,
    power_rule,
)
from nbqnn_train.quant.transposed import TransposedGeometry
from nbqnn_train.quant.value_shapes import Shape, Shapes, value_shapes
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["Exporter", "export_graph"]

#: Weights of 0 and 1 need no more than this.
_COPY_WEIGHT_BITS = 2


def export_graph(module: QuantNetwork, input_shape: Shape | Shapes | None = None) -> Graph:
    """The integer graph of a calibrated network for inputs of ``input_shape``.

    input_shape : without the batch, (C, H, W), (C, L) for series, which the graph holds as maps of
        height 1, or (F,); for several inputs a sequence of shapes, or a dict by the names of the
        graph's inputs. By default what the module was converted with.

    The graph's nodes bear the names of the network's operations; where one operation becomes an
    accumulator and a requantizer, the requantizer's name ends in ``.out``. Accumulators get the
    narrowest width that provably never overflows.

    Raises :class:`NbqnnError` where the network is not calibrated, a weight is NaN or infinite, the
    shape does not fit, or an accumulator could need more than 48 bits (layer, bound and width are
    named).
    """
    if not isinstance(module, QuantNetwork):
        raise TypeError(f"Module must come from convert, not be {type(module).__name__}")
    for name, op in module.ops.items():
        for part, tensor in op.state_dict().items():
            check_finite(f"Layer {name!r}: {part}", tensor)
    graph = Exporter(module, _check_shapes(module, input_shape)).export()
    graph = _with_accumulator_widths(graph)
    validate(graph)
    return graph


def _check_shapes(module: QuantNetwork, given) -> Shapes:
    """The shapes of all inputs, in order."""
    read = module.reading.inputs
    if given is None:
        return tuple(read.values())
    if isinstance(given, Mapping):
        if set(given) != set(read):
            raise NbqnnError(
                f"Input shapes must be given for {', '.join(read)}, not {', '.join(given)}"
            )
        shapes = [given[name] for name in read]
    else:
        several = len(read) > 1
        shapes = list(given) if several else [given]
    for shape in shapes:
        sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        if not 1 <= len(sizes) <= 3 or not all(type(s) is int and s > 0 for s in sizes):
            raise NbqnnError(
                f"Input shape must be positive integers, (C, H, W), (C, L) or (F,), not {shape!r}"
            )
    return tuple(tuple(shape) for shape in shapes)


def _with_accumulator_widths(graph: Graph) -> Graph:
    """``graph`` with the narrowest ``acc_bits`` that no partial sum can leave."""
    bounds = accumulator_bounds(graph)
    nodes = []
    for node in graph.nodes:
        if node.name in bounds:
            bits = max(required_bits(*bounds[node.name]), ACC_BITS[0])
            if bits > ACC_BITS[1]:
                low, high = bounds[node.name]
                raise NbqnnError(
                    f"{label(node)}: accumulators can reach {low}..{high}, which takes {bits} "
                    f"bits; at most {ACC_BITS[1]} are allowed"
                )
            node = replace(node, acc_bits=bits)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.int64)


class Exporter:
    """Appends the nodes of one operation after the other."""

    def __init__(self, network: QuantNetwork, input_shapes: Shapes):
        self.network = network
        self.formats = network.formats()
        self.shapes = value_shapes(network, input_shapes)
        self.nodes: list[Node] = []
        #: The node that holds each step's value.
        self.names: dict[str, str] = {}

    def export(self) -> Graph:
        for step in self.network.steps:
            op = self.network.ops[step.name]
            if isinstance(op, Operator):
                self.names[step.name] = op.export(self, step)
            else:
                self.names[step.name] = _RULES[type(op)](self, step, op)
        outputs = tuple(self.names[key] for key in self.network.outputs)
        final = self.network.final
        return Graph(
            nodes=tuple(self.nodes),
            outputs=outputs,
            final=final if set(final) != {"none"} else (),
        )

    def put(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def source(self, step: Step) -> str:
        return self.names[step.inputs[0]]

    def channels(self, name: str) -> int:
        return self.shapes[name][0]

    def requantize(
        self, name: str, source: str, out: ActivationQuantizer, rule: Requantization
    ) -> str:
        target = out.format
        low, high = out.code_range
        node = Requantize(
            name=name,
            input=source,
            multiplier=_numpy(rule.multiplier),
            bias=_numpy(rule.bias),
            shift=_numpy(rule.shift),
            bits=target.bits,
            signed=target.signed,
            exponent=target.exponent,
            low=low,
            high=high,
        )
        return self.put(node)

    def rescale(
        self, name: str, source: str, exponent: int, out: ActivationQuantizer, channels: int
    ) -> str:
        """Requantizes accumulators of one step for all channels."""
        multiplier, shift = power_rule(exponent, out.format)
        ones = torch.ones(channels, dtype=torch.int64)
        rule = Requantization(ones * multiplier, ones * 0, ones * shift, reach=0)
        return self.requantize(name, source, out, rule)

    def input(self, step: Step, op: InputOp) -> str:
        target = op.out.format
        node = Input(
            name=step.name,
            shape=self.shapes[step.name],
            bits=target.bits,
            signed=target.signed,
            exponent=target.exponent,
        )
        return self.put(node)

    def weighted(self, step: Step, op: WeightedLayer) -> str:
        layer = op.integers(self.formats[step.inputs[0]])
        common = {
            "name": step.name,
            "input": self.source(step),
            "weight": _numpy(layer.codes),
            "weight_bits": op.bits,
            "weight_exponent": _numpy(layer.exponent),
            "acc_bits": ACC_BITS[1],
        }
        if op.geometry is None:
            self.put(Linear(**common))
        else:
            transposed = isinstance(op.geometry, TransposedGeometry)
            kind = ConvTranspose2d if transposed else Conv2d
            self.put(kind(**common, **vars(op.geometry)))
        return self.requantize(step.name + ".out", step.name, op.out, layer.requantization)

    def fixed(self, step: Step, op: FixedConvOp) -> str:
        """A convolution with weights 0 and 1, and a requantizer that changes nothing."""
        source = self.formats[step.inputs[0]]
        weight = _numpy(op.weight)
        channels = len(weight)
        self.put(
            Conv2d(
                name=step.name,
                input=self.source(step),
                weight=weight,
                weight_bits=_COPY_WEIGHT_BITS,
                weight_exponent=np.zeros(channels, dtype=np.int64),
                stride=op.geometry.stride,
                padding=op.geometry.padding,
                dilation=op.geometry.dilation,
                groups=op.geometry.groups,
                acc_bits=ACC_BITS[1],
            )
        )
        return self.keep(step.name + ".out", step.name, source, channels)

    def keep(self, name: str, source: str, fmt: Format, channels: int, shift: int = 0) -> str:
        """Accumulators in steps of ``fmt`` divided by ``2**shift``, in that format."""
        node = Requantize(
            name=name,
            input=source,
            multiplier=np.ones(channels, dtype=np.int64),
            bias=np.zeros(channels, dtype=np.int64),
            shift=np.full(channels, shift, dtype=np.int64),
            bits=fmt.bits,
            signed=fmt.signed,
            exponent=fmt.exponent,
            low=fmt.low,
            high=fmt.high,
        )
        return self.put(node)

    def norm(self, step: Step, op: NormOp) -> str:
        rule = op.integers(self.formats[step.inputs[0]])
        source, name = self.source(step), step.name
        if not op.positive():
            channels = len(rule.sign)
            common = {
                "name": name,
                "input": source,
                "weight_bits": _COPY_WEIGHT_BITS,
                "weight_exponent": np.zeros(channels, dtype=np.int64),
                "acc_bits": ACC_BITS[1],
            }
            sign = _numpy(rule.sign)
            if len(self.shapes[step.inputs[0]]) == 1:
                source = self.put(Linear(**common, weight=np.diag(sign)))
            else:
                weight = sign.reshape(channels, 1, 1, 1)
                source = self.put(Conv2d(**common, weight=weight, groups=channels))
            name += ".out"
        return self.requantize(name, source, op.out, rule.requantization)

    def clip(self, step: Step, op: ClipOp) -> str:
        source = self.formats[step.inputs[0]]
        low, high = source.code_range(*op.limits)
        return self.put(Clip(name=step.name, input=self.source(step), low=low, high=high))

    def max_pool(self, step: Step, op: MaxPoolOp) -> str:
        kernel, stride, padding = op.window.at(*self.shapes[step.inputs[0]][1:])
        node = MaxPool2d(
            name=step.name,
            input=self.source(step),
            kernel=kernel,
            stride=stride,
            padding=padding,
        )
        return self.put(node)

    def avg_pool(self, step: Step, op: AvgPoolOp) -> str:
        shape = self.shapes[step.inputs[0]]
        kernel, stride, padding = op.window.at(*shape[1:])
        same = self.formats[step.inputs[0]] == op.out.format
        if op.is_copy(kernel, stride, padding) and same:
            return self.source(step)
        source = self.source(step)
        for stage, blocks in enumerate(mean_stages(kernel, stride, padding)):
            source = self._block_means(step, source, blocks, stage)
            kernel = stride = (kernel[0] // blocks[0], kernel[1] // blocks[1])
        multiplier, shift = average_multiplier(kernel[0] * kernel[1])
        self.put(
            AvgPool2d(
                name=step.name,
                input=source,
                kernel=kernel,
                stride=stride,
                padding=padding,
                multiplier=multiplier,
                shift=shift,
                acc_bits=ACC_BITS[1],
            )
        )
        exponent = self.formats[step.inputs[0]].exponent - shift
        return self.rescale(step.name + ".out", step.name, exponent, op.out, shape[0])

    def _block_means(self, step: Step, source: str, blocks: tuple[int, int], stage: int) -> str:
        """Means of blocks, in the format of what they are taken of."""
        name, fmt = step.name + block_name(stage), self.formats[step.inputs[0]]
        multiplier, shift = average_multiplier(blocks[0] * blocks[1])
        self.put(
            AvgPool2d(
                name=name,
                input=source,
                kernel=blocks,
                stride=blocks,
                padding=(0, 0, 0, 0),
                multiplier=multiplier,
                shift=shift,
                acc_bits=ACC_BITS[1],
            )
        )
        channels = self.shapes[step.inputs[0]][0]
        return self.keep(name + ".out", name, fmt, channels, shift)

    def add(self, step: Step, op: AddOp) -> str:
        exponents = [self.formats[source].exponent for source in step.inputs]
        finest = min(exponents)
        self.put(
            Add(
                name=step.name,
                operands=tuple(self.names[source] for source in step.inputs),
                shifts=tuple(exponent - finest for exponent in exponents),
                acc_bits=ACC_BITS[1],
            )
        )
        channels = self.channels(step.name)
        return self.rescale(step.name + ".out", step.name, finest, op.out, channels)

    def concat(self, step: Step, op: ConcatOp) -> str:
        operands = []
        for index, source in enumerate(step.inputs):
            fmt, name = self.formats[source], self.names[source]
            if fmt != op.out.format:
                operand = f"{step.name}.operand{index}"
                name = self.rescale(operand, name, fmt.exponent, op.out, self.channels(source))
            operands.append(name)
        return self.put(Concat(name=step.name, operands=tuple(operands)))

    def flatten(self, step: Step, op: FlattenOp) -> str:
        if len(self.shapes[step.inputs[0]]) == 1:
            return self.source(step)
        return self.put(Flatten(name=step.name, input=self.source(step)))

    def training(self, step: Step, op: TrainingOp) -> str:
        """Dropout and its kin do nothing in evaluation."""
        return self.source(step)


_RULES: dict[type[nn.Module], Callable] = {
    InputOp: Exporter.input,
    WeightedLayer: Exporter.weighted,
    FixedConvOp: Exporter.fixed,
    NormOp: Exporter.norm,
    ClipOp: Exporter.clip,
    MaxPoolOp: Exporter.max_pool,
    AvgPoolOp: Exporter.avg_pool,
    AddOp: Exporter.add,
    ConcatOp: Exporter.concat,
    FlattenOp: Exporter.flatten,
    TrainingOp: Exporter.training,
}
