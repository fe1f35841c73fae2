"""Lowers graph nodes to the layers that the accelerator runs."""

from collections import Counter
from dataclasses import replace

import numpy as np

from hw.compiler.constants import fold_requantize, identity_params
from hw.compiler.errors import CompileError
from hw.compiler.folding import choose_fold
from hw.compiler.layer import Layer, Lowered
from hw.compiler.views import View, concat_views
from hw.contract.config import AcceleratorConfig
from hw.contract.image_blocks import ImageFold
from hw.contract.isa import Unit
from hw.contract.words import stored_offset
from nbqnn_train.graph import (
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
    tensor_types,
)
from nbqnn_train.graph.operators import OPERATORS

__all__ = ["lower"]


_SUMMING = (Conv2d, Linear, AvgPool2d, Add)


def _as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Vectors are maps of one position."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def lower(graph: Graph, config: AcceleratorConfig, copied: frozenset[str] = frozenset()) -> Lowered:
    """The layers that compute ``graph``; concatenations in ``copied`` are not done in place.

    Raises :class:`CompileError`, naming every node that the accelerator does not have, or the first
    one whose numbers do not fit it.
    """
    return _Lowering(graph, config, copied).run()


class _Lowering:
    def __init__(self, graph: Graph, config: AcceleratorConfig, copied: frozenset[str]):
        self.graph = graph
        self.config = config
        self.copied = copied
        self.types = tensor_types(graph)
        self.users = Counter(name for node in graph.nodes for name in node.inputs)
        self.layers: list[Layer] = []
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.offsets: dict[str, int] = {}
        #: Flattened tensors -> the tensor whose memory they are.
        self.aliases: dict[str, str] = {}
        self.views: dict[str, View] = {}
        self.fold: ImageFold | None = None

    def run(self) -> Lowered:
        self._check_support()
        stored = {name: type_ for name, type_ in self.types.items() if not type_.is_accumulator}
        self.views = concat_views(
            self.graph,
            self.config,
            {name: type_.shape[0] for name, type_ in stored.items()},
            {name: stored_offset(self.config, type_) for name, type_ in stored.items()},
            self.copied,
        )
        for node in self.graph.nodes:
            match node:
                case Flatten():
                    self.aliases[node.name] = self._memory_of(node.input)
                case Input():
                    self._place(node)
                case Concat() if self._written_in_place(node):
                    self._place(node)
                case Concat():
                    self._concat(node)
                case Requantize() | Clip() | MaxPool2d():
                    self._place(node)
                    self.layers.append(self._layer(node))
        return Lowered(
            tuple(self.layers), self.shapes, self.offsets, self.aliases, self.views, self.fold
        )

    def _written_in_place(self, node: Concat) -> bool:
        """Whether the operands are parts of the result already."""
        place = self.views.get(node.name)
        return place is not None and self.views.get(node.operands[0]) == place

    def _check_support(self):
        """All nodes that the accelerator does not have, at once, before anything is done."""
        refused = []
        for node in self.graph.nodes:
            kind = type(node).__name__
            if type(node) in OPERATORS:
                refused.append(f"{node.name} ({kind})")
            if isinstance(node, _SUMMING) and self.users[node.name] != 1:
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
        self.shapes[node.name] = _as_map(type_.shape)
        self.offsets[node.name] = stored_offset(self.config, type_)

    def _memory_of(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _source(self, node: Node, name: str) -> str:
        """The stored tensor behind an operand that a channel-wise pass reads as it is."""
        source = self._memory_of(name)
        if self.shapes[source] != _as_map(self.types[name].shape):
            raise CompileError(
                f"layer {node.name}: {type(node).__name__} of a flattened map of "
                f"{self.shapes[source]} is not supported; put it before the flattening"
            )
        return source

    def _layer(self, node: Requantize | Clip | MaxPool2d) -> Layer:
        producer = self.graph[node.input]
        if not (isinstance(node, Requantize) and isinstance(producer, _SUMMING)):
            return self._maximum(node)
        match producer:
            case AvgPool2d():
                return self._average(producer, node)
            case Add():
                return self._addition(producer, node)
            case Conv2d(groups=groups) if groups > 1 and producer.weight.shape[:2] == (groups, 1):
                return self._depthwise(producer, node)
            case _:
                return self._dot_products(producer, node)

    # Passes that end in a requantizer -------------------------------------------------------------

    def _dot_products(self, node: Conv2d | Linear, requantize: Requantize) -> Layer:
        self._check_weight_bits(node)
        source = self._memory_of(node.input)
        if isinstance(node, Linear):
            # The kernel covers the whole map, so flattening costs nothing.
            weight, geometry = node.weight.reshape(len(node.weight), *self.shapes[source]), {}
        else:
            weight, geometry = _dense(node), _geometry(node)
            if self._may_fold(node):
                self.fold = choose_fold(
                    self.config,
                    in_shape=self.shapes[source],
                    out_shape=self.shapes[requantize.name],
                    kernel=node.weight.shape[2:],
                    stride=node.stride,
                    padding=node.padding,
                )
            if self.fold is not None and source == self.graph.input_nodes[0].name:
                self.shapes[source] = self.fold.shape
                weight = self.fold.fold_weight(node.weight)
                geometry = self.fold.geometry(node.stride)
        return self._summing_layer(
            node,
            requantize,
            (source,),
            Unit.ARRAY,
            weight,
            macs=node.weight.size * self._positions(requantize),
            **geometry,
        )

    def _may_fold(self, node: Conv2d) -> bool:
        """Whether the image is read by this convolution alone, so that the host may fold it."""
        return (
            isinstance(self.graph[node.input], Input)
            and self.users[node.input] == 1
            and node.input not in self.graph.outputs
            and node.groups == 1
            and node.dilation == (1, 1)
        )

    def _depthwise(self, node: Conv2d, requantize: Requantize) -> Layer:
        self._check_weight_bits(node)
        return self._summing_layer(
            node,
            requantize,
            (self._memory_of(node.input),),
            Unit.SUM,
            node.weight,
            macs=node.weight.size * self._positions(requantize),
            **_geometry(node),
        )

    def _average(self, node: AvgPool2d, requantize: Requantize) -> Layer:
        digits = self._digits(node.multiplier)
        weight = np.broadcast_to(
            np.array(digits, np.int64).reshape(1, -1, 1, 1), (1, len(digits), *node.kernel)
        )
        return self._summing_layer(
            node,
            requantize,
            (self._source(node, node.input),),
            Unit.SUM,
            weight,
            stride=node.stride,
            padding=node.padding,
        )

    def _addition(self, node: Add, requantize: Requantize) -> Layer:
        digits = [self._power_digits(shift) for shift in node.shifts]
        weight = np.zeros((1, max(map(len, digits)), 2, 1), np.int64)
        for operand, factors in enumerate(digits):
            weight[0, -len(factors) :, operand, 0] = factors
        layer = self._summing_layer(
            node,
            requantize,
            tuple(self._source(node, operand) for operand in node.operands),
            Unit.SUM,
            weight,
        )
        (_, passes, _, _), used = weight.shape, weight[0, :, :, 0] != 0
        if passes == 2 and (used.sum(axis=1) == 1).all() and used[0].tolist() != used[1].tolist():
            # Each pass has one operand of its own.
            order = used.argmax(axis=1)
            layer = replace(
                layer,
                sources=tuple(layer.sources[operand] for operand in order),
                weight=weight[:, [[0], [1]], order[:, None]],
                kernel=(1, 1),
            )
        return layer

    def _concat(self, node: Concat):
        """Pairwise sums of channels that were moved to their places by weights of zero and one."""
        joined = node.operands[0]
        for position, operand in enumerate(node.operands[1:], start=2):
            last = position == len(node.operands)
            target = node.name if last else f"{node.name}.{position}"
            sources = (self._source(node, joined), self._source(node, operand))
            first, second = (self.shapes[source][0] for source in sources)
            shape = (first + second, *self.shapes[sources[0]][1:])
            weight = np.zeros((shape[0], max(first, second), 2, 1), np.int64)
            weight[np.arange(first), np.arange(first), 0] = 1
            weight[first + np.arange(second), np.arange(second), 1] = 1
            type_ = replace(self.types[node.name], shape=shape)
            self.types[target], self.shapes[target] = type_, shape
            self.offsets[target] = stored_offset(self.config, type_)
            channels = np.ones(shape[0], np.int64)
            unchanged = Requantize(
                name=target,
                input=target,
                multiplier=channels,
                bias=0 * channels,
                shift=0 * channels,
                bits=type_.bits,
                signed=type_.signed,
                exponent=type_.exponent,
                low=type_.low,
                high=type_.high,
            )
            self.layers.append(
                self._summing_layer(
                    replace(node, name=target, operands=(joined, operand)),
                    unchanged,
                    sources,
                    Unit.ARRAY,
                    weight,
                )
            )
            joined = target

    def _summing_layer(
        self,
        node: Node,
        requantize: Requantize,
        sources: tuple[str, ...],
        unit: Unit,
        weight: np.ndarray,
        **fields,
    ) -> Layer:
        offsets = [self.offsets[source] for source in sources]
        types = [self.types[name] for name in node.inputs]
        # Channel-wise sums are multiplied by the radix from one pass over the window to the next.
        passes = weight.shape[1] if unit is Unit.SUM else 1
        radix = 1 << self.config.radix_bits
        places = radix ** np.arange(passes, dtype=np.int64)[::-1].reshape(1, -1, 1, 1)
        correction, low, high = self._sums(node.name, weight, places, types, offsets)
        out_offset = self.offsets[requantize.name]
        out_shape = self.shapes[requantize.name]
        channels = np.zeros(out_shape[0], np.int64)
        return Layer(
            name=node.name,
            sources=sources,
            target=requantize.name,
            unit=unit,
            weight=weight,
            kernel=weight.shape[2:],
            params=fold_requantize(
                self.config,
                node.name,
                requantize,
                correction + channels,
                low + channels,
                high + channels,
                out_offset,
            ),
            low=requantize.low - out_offset,
            high=requantize.high - out_offset,
            pad=-offsets[0],
            out_shape=out_shape,
            **fields,
        )

    def _sums(
        self,
        layer: str,
        weight: np.ndarray,
        places: np.ndarray,
        types: list[TensorType],
        offsets: list[int],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the hardware's sums lack, and their smallest and largest value, per channel.

        ``places`` are the values of the passes over the window. With two operands, the kernel's
        rows are theirs.
        """
        correction = smallest = largest = 0
        for operand, (type_, offset) in enumerate(zip(types, offsets, strict=True)):
            part = weight if len(types) == 1 else weight[:, :, operand : operand + 1]
            positive = (np.maximum(part, 0) * places).sum((1, 2, 3))
            negative = (np.minimum(part, 0) * places).sum((1, 2, 3))
            inversions = 0
            if self.config.pe == "shift":
                inversions = ((part < 0) * places).sum((1, 2, 3))
            # Padding is code 0 whether or not the tensor itself can hold it.
            low, high = min(type_.low, 0) - offset, max(type_.high, 0) - offset
            smallest = smallest + positive * low + negative * high - inversions
            largest = largest + positive * high + negative * low - inversions
            correction = correction + inversions + offset * (positive + negative)
        limit = 1 << (self.config.acc_bits - 1)
        bound = max(int(largest.max()), -int(smallest.min()) - 1)
        if bound >= limit:
            raise CompileError(
                f"layer {layer}: sums up to {bound} need {bound.bit_length() + 1} accumulator "
                f"bits, more than acc_bits = {self.config.acc_bits} of the configuration"
            )
        return correction, smallest, largest

    def _digits(self, factor: int) -> list[int]:
        """A positive factor in digits of ``radix_bits``, the most significant first."""
        radix = 1 << self.config.radix_bits
        digits = []
        while factor:
            digit = factor % radix
            # Three is no weight: one less than the next digit's one.
            digit -= radix if digit == 3 else 0
            digits.append(digit)
            factor = (factor - digit) // radix
        return digits[::-1]

    def _power_digits(self, shift: int) -> list[int]:
        """``2**shift`` in digits of ``radix_bits``, of which the first may be any weight."""
        zeros = -(-max(0, shift - self.config.weight_magnitude_bits + 1) // self.config.radix_bits)
        return [1 << shift - zeros * self.config.radix_bits] + [0] * zeros

    def _check_weight_bits(self, node: Conv2d | Linear):
        if node.weight_bits > self.config.weight_bits:
            raise CompileError(
                f"layer {node.name}: {node.weight_bits}-bit weights must be of at most weight_bits "
                f"= {self.config.weight_bits} of the configuration"
            )

    def _positions(self, node: Node) -> int:
        _, height, width = self.shapes[node.name]
        return height * width

    # Passes of the maximum unit -------------------------------------------------------------------

    def _maximum(self, node: Requantize | Clip | MaxPool2d) -> Layer:
        """Pooling, or a window of one to requantize or clip."""
        config = self.config
        source = self._source(node, node.input)
        type_ = self.types[node.input]
        offset, out_offset = self.offsets[source], self.offsets[node.name]
        channels = self.shapes[source][0]
        lowest = -(1 << (config.act_bits - 1))
        fields = {"low": lowest, "high": -lowest - 1}
        if not isinstance(node, MaxPool2d):
            fields = {"low": node.low - out_offset, "high": node.high - out_offset}
        if isinstance(node, Requantize):
            fields["params"] = fold_requantize(
                config,
                node.name,
                node,
                np.full(channels, offset, np.int64),
                np.full(channels, type_.low - offset, np.int64),
                np.full(channels, type_.high - offset, np.int64),
                out_offset,
            )
        else:
            fields["params"] = identity_params(config, config.post_lanes)
            fields["shared_params"] = True
        if isinstance(node, MaxPool2d):
            fields |= {"stride": node.stride, "padding": node.padding}
        return Layer(
            name=node.name,
            sources=(source,),
            target=node.name,
            unit=Unit.MAX,
            weight=None,
            kernel=node.kernel if isinstance(node, MaxPool2d) else (1, 1),
            pad=lowest,
            out_shape=self.shapes[node.name],
            **fields,
        )


def _geometry(node: Conv2d) -> dict:
    return {"stride": node.stride, "padding": node.padding, "dilation": node.dilation}


def _dense(node: Conv2d) -> np.ndarray:
    """The weights with zeros for the channels of other groups: (Cout, Cin, KH, KW)."""
    if node.groups == 1:
        return node.weight
    outputs, inputs, kernel_h, kernel_w = node.weight.shape
    dense = np.zeros((outputs, inputs * node.groups, kernel_h, kernel_w), np.int64)
    per_group = outputs // node.groups
    for group in range(node.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        columns = slice(group * inputs, (group + 1) * inputs)
        dense[rows, columns] = node.weight[rows]
    return dense
