"""Lowers graph nodes to the layers that the accelerator runs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from hw.config import AcceleratorConfig
from hw.fold import (
    ChannelParams,
    CompileError,
    fold_requantize,
    identity_params,
    stored_offset,
)
from nbqnn_train.graph import (
    Clip,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    TensorType,
    tensor_types,
)

__all__ = ["Layer", "Lowered", "lower"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One pass of the compute engine over a whole tensor.

    ``weight`` (Cout, Cin, KH, KW) is None for passes of the maximum unit, which work channel by
    channel. ``low``, ``high`` and ``pad`` are stored codes. ``macs`` counts nominal
    multiply-accumulates: those of the mathematical operation, padding included.
    """

    name: str
    source: str
    target: str
    weight: np.ndarray | None
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    params: ChannelParams
    #: All chunks of channels use the same word of parameters.
    shared_params: bool
    low: int
    high: int
    pad: int
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    macs: int


@dataclass(frozen=True)
class Lowered:
    """Layers in order; ``offsets`` of the stored tensors; ``aliases`` of flattened ones."""

    layers: tuple[Layer, ...]
    shapes: dict[str, tuple[int, int, int]]
    offsets: dict[str, int]
    aliases: dict[str, str]


def _as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Vectors are maps of one position."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def lower(graph: Graph, config: AcceleratorConfig) -> Lowered:
    """The layers that compute ``graph``.

    Raises :class:`CompileError`, naming every node that the accelerator does not have, or the first
    one whose numbers do not fit it.
    """
    return _Lowering(graph, config).run()


class _Lowering:
    def __init__(self, graph: Graph, config: AcceleratorConfig):
        self.graph = graph
        self.config = config
        self.types = tensor_types(graph)
        self.users = Counter(name for node in graph.nodes for name in node.inputs)
        self.layers: list[Layer] = []
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.offsets: dict[str, int] = {}
        #: Flattened tensors -> the tensor whose memory they are.
        self.aliases: dict[str, str] = {}

    def run(self) -> Lowered:
        self._check_support()
        for node in self.graph.nodes:
            match node:
                case Input() | Flatten():
                    self._place(node)
                case Requantize() | Clip() | MaxPool2d():
                    self._place(node)
                    self._add_layer(node)
        return Lowered(tuple(self.layers), self.shapes, self.offsets, self.aliases)

    def _check_support(self):
        """All nodes that the accelerator does not have, at once, before anything is done."""
        refused = []
        for node in self.graph.nodes:
            kind = type(node).__name__
            if isinstance(node, Conv2d) and node.groups != 1:
                refused.append(f"{node.name} (Conv2d with groups = {node.groups})")
            elif not isinstance(
                node, (Input, Conv2d, Linear, MaxPool2d, Flatten, Clip, Requantize)
            ):
                refused.append(f"{node.name} ({kind})")
            elif isinstance(node, (Conv2d, Linear)) and self.users[node.name] != 1:
                refused.append(f"{node.name} ({kind} with {self.users[node.name]} readers)")
        if len(self.graph.input_nodes) != 1:
            refused.append(f"{len(self.graph.input_nodes)} inputs (one is supported)")
        if refused:
            raise CompileError(f"the accelerator does not support: {', '.join(refused)}")
        for name, type_ in self.types.items():
            if not type_.is_accumulator and type_.bits > self.config.act_bits:
                raise CompileError(
                    f"tensor {name}: {type_.bits} bits must be at most act_bits = "
                    f"{self.config.act_bits} of the configuration"
                )

    def _place(self, node: Node):
        type_ = self.types[node.name]
        if isinstance(node, Flatten):
            self.aliases[node.name] = self._memory_of(node.input)
            return
        self.shapes[node.name] = _as_map(type_.shape)
        self.offsets[node.name] = stored_offset(self.config, type_)

    def _memory_of(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _add_layer(self, node: Requantize | Clip | MaxPool2d):
        producer = self.graph[node.input]
        if isinstance(node, Requantize) and isinstance(producer, (Conv2d, Linear)):
            self.layers.append(self._dot_products(producer, node))
        else:
            self.layers.append(self._channelwise(node))

    def _dot_products(self, node: Conv2d | Linear, requantize: Requantize) -> Layer:
        config = self.config
        source = self._memory_of(node.input)
        if node.weight_bits > config.weight_bits:
            raise CompileError(
                f"layer {node.name}: {node.weight_bits}-bit weights must be of at most weight_bits "
                f"= {config.weight_bits} of the configuration"
            )
        if isinstance(node, Linear):
            # The kernel covers the whole map, so flattening costs nothing.
            in_shape = self.shapes[source]
            weight = node.weight.reshape(len(node.weight), *in_shape)
            geometry = {
                "stride": (1, 1),
                "padding": (0, 0, 0, 0),
                "dilation": (1, 1),
            }
        else:
            weight = node.weight
            geometry = {
                "stride": node.stride,
                "padding": node.padding,
                "dilation": node.dilation,
            }
        offset = self.offsets[source]
        type_ = self.types[node.input]
        correction, low, high = self._sums(node.name, weight, type_, offset)
        out_offset = self.offsets[requantize.name]
        out_shape = self.shapes[requantize.name]
        return Layer(
            name=node.name,
            source=source,
            target=requantize.name,
            weight=weight,
            kernel=weight.shape[2:],
            **geometry,
            params=fold_requantize(
                config, node.name, requantize, correction, low, high, out_offset
            ),
            shared_params=False,
            low=requantize.low - out_offset,
            high=requantize.high - out_offset,
            pad=-offset,
            in_shape=self.shapes[source],
            out_shape=out_shape,
            macs=weight.size * out_shape[1] * out_shape[2],
        )

    def _sums(
        self, layer: str, weight: np.ndarray, type_: TensorType, offset: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the array's sums lack, and their smallest and largest value, per filter."""
        axes = (1, 2, 3)
        positive = np.maximum(weight, 0).sum(axes)
        negative = np.minimum(weight, 0).sum(axes)
        inversions = (weight < 0).sum(axes) if self.config.pe == "shift" else 0
        # Padding is code 0 whether or not the tensor itself can hold it.
        low, high = min(type_.low, 0) - offset, max(type_.high, 0) - offset
        smallest = positive * low + negative * high - inversions
        largest = positive * high + negative * low - inversions
        limit = 1 << (self.config.acc_bits - 1)
        bound = max(int(largest.max()), -int(smallest.min()) - 1)
        if bound >= limit:
            raise CompileError(
                f"layer {layer}: sums up to {bound} need {bound.bit_length() + 1} accumulator "
                f"bits, more than acc_bits = {self.config.acc_bits} of the configuration"
            )
        return inversions + offset * (positive + negative), smallest, largest

    def _channelwise(self, node: Requantize | Clip | MaxPool2d) -> Layer:
        """A pass of the maximum unit: pooling, or a window of one to requantize or clip."""
        config = self.config
        source = self._memory_of(node.input)
        type_ = self.types[node.input]
        offset = self.offsets[source]
        out_offset = self.offsets[node.name]
        channels = self.shapes[source][0]
        if self.shapes[source] != _as_map(type_.shape):
            raise CompileError(
                f"layer {node.name}: {type(node).__name__} of a flattened map of "
                f"{self.shapes[source]} is not supported; put it before the flattening"
            )
        lowest = -(1 << (config.act_bits - 1))
        low, high = lowest, -lowest - 1
        if isinstance(node, MaxPool2d):
            kernel, stride, padding = node.kernel, node.stride, node.padding
        else:
            kernel, stride, padding = (1, 1), (1, 1), (0, 0, 0, 0)
            low, high = node.low - out_offset, node.high - out_offset
        if isinstance(node, Requantize):
            params = fold_requantize(
                config,
                node.name,
                node,
                np.full(channels, offset, np.int64),
                np.full(channels, type_.low - offset, np.int64),
                np.full(channels, type_.high - offset, np.int64),
                out_offset,
            )
        else:
            params = identity_params(config, config.post_lanes)
        return Layer(
            name=node.name,
            source=source,
            target=node.name,
            weight=None,
            kernel=kernel,
            stride=stride,
            padding=padding,
            dilation=(1, 1),
            params=params,
            shared_params=not isinstance(node, Requantize),
            low=low,
            high=high,
            pad=lowest,
            in_shape=self.shapes[source],
            out_shape=self.shapes[node.name],
            macs=0,
        )
