"""Nodes that need no pass of their own, because a neighbour takes them over.

Zeros around a map become the padding of what reads it. An order of channels becomes the order of
the weights of the layer before or behind it. What does the same to all positions is done before a
map is flattened, and not to a vector. A convolution of an image whose pixels were moved into
channels becomes one of the image: the host moves them (:mod:`hw.compiler.blocks`). The graph
computes the same codes: every tensor that is left has its name and its codes.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import (
    AvgPool2d,
    Channels,
    Clip,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Graph,
    Input,
    Linear,
    Node,
    Pad2d,
    Requantize,
    SpaceToDepth,
    Table,
    tensor_types,
)

__all__ = ["is_slice", "simplified"]


def simplified(graph: Graph, config: AcceleratorConfig) -> Graph:
    """The graph without what its neighbours can do for nothing."""
    rules = (
        *(_padding, _flattened_later, _unshuffled),
        *(_ordered_twice, _order_before, _order_behind),
    )
    while True:
        found = _Found(graph, config)
        made = (rule(found, node) for rule in rules for node in graph.nodes)
        changes = next(filter(None, made), None)
        if changes is None:
            return graph
        graph = replace(graph, nodes=tuple(_changed(graph, changes)))


def is_slice(config: AcceleratorConfig, node: Channels) -> bool:
    """Whether the channels follow each other and begin a word of the memory."""
    first = int(node.index[0])
    following = np.arange(first, first + len(node.index))
    return first % config.lanes == 0 and np.array_equal(node.index, following)


class _Found:
    """A graph, and who reads what."""

    def __init__(self, graph: Graph, config: AcceleratorConfig):
        self.graph = graph
        self.config = config
        self.types = tensor_types(graph)
        self.nodes = {node.name: node for node in graph.nodes}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)

    def read_by(self, name: str) -> list[Node]:
        """Who reads a tensor; nobody if it is an output, which must stay."""
        return [] if name in self.graph.outputs else self.readers.get(name, [])


#: Name of a node -> what takes its place: one or several; None for nothing.
_Changes = dict[str, Node | tuple[Node, ...] | None]


def _changed(graph: Graph, changes: _Changes) -> Iterator[Node]:
    for node in graph.nodes:
        made = changes.get(node.name, node)
        if isinstance(made, tuple):
            yield from made
        elif made is not None:
            yield made


def _padding(found: _Found, node: Node) -> _Changes | None:
    """Zeros around a map that sums read with zeros around it anyway."""
    if not (isinstance(node, Pad2d) and node.mode == "constant" and node.value == 0):
        return None
    changes: _Changes = {node.name: None}
    for reader in found.read_by(node.name):
        if type(reader) not in (Conv2d, AvgPool2d):
            return None
        padding = tuple(int(a) + int(b) for a, b in zip(node.padding, reader.padding, strict=True))
        if isinstance(reader, AvgPool2d) and any(
            amount >= reader.kernel[axis % 2] for axis, amount in enumerate(padding)
        ):
            # A window of nothing but padding is no pooling's.
            return None
        changes[reader.name] = replace(reader, input=node.input, padding=padding)
    return changes if len(changes) > 1 else None


def _flattened_later(found: _Found, node: Node) -> _Changes | None:
    """What does the same to all positions of a flattened map: to the map, which comes so."""
    if not isinstance(node, Clip | Table | Requantize):
        return None
    flat = found.nodes[node.input]
    readers = found.read_by(node.name)
    if not isinstance(flat, Flatten) or not readers:
        return None
    if not all(isinstance(reader, Linear | Clip | Table | Requantize) for reader in readers):
        return None
    changed = replace(node, input=flat.input)
    if isinstance(node, Requantize):
        channels = found.types[flat.input].shape[0]
        fields = {
            field: getattr(node, field).reshape(channels, -1)
            for field in ("multiplier", "bias", "shift")
        }
        if any((values != values[:, :1]).any() for values in fields.values()):
            return None
        changed = replace(changed, **{field: values[:, 0] for field, values in fields.items()})
    name = f"{node.name}.flat"
    while name in found.nodes:
        name += "'"
    changes: _Changes = {node.name: (changed, Flatten(name=name, input=node.name))}
    if found.read_by(flat.name) == [node]:
        changes[flat.name] = None
    return changes | {reader.name: replace(reader, input=name) for reader in readers}


def _unshuffled(found: _Found, node: Node) -> _Changes | None:
    """Space to depth of the image before a convolution, which can have larger steps instead."""
    if not isinstance(node, SpaceToDepth) or not isinstance(found.nodes[node.input], Input):
        return None
    block, channels = int(node.block), found.types[node.input].shape[0]
    readers = found.read_by(node.name)
    alone = len(found.graph.input_nodes) == 1 and found.read_by(node.input) == [node]
    if not alone or len(readers) != 1 or channels * block**2 > found.config.lanes:
        return None
    (reader,) = readers
    if not isinstance(reader, Conv2d) or reader.groups > 1 or reader.dilation != (1, 1):
        return None
    outputs, _, height, width = reader.weight.shape
    # (outputs, channels, row and column in the block, KH, KW)
    split = reader.weight.reshape(outputs, channels, block, block, height, width)
    weight = split.transpose(0, 1, 4, 2, 5, 3)
    return {
        node.name: None,
        reader.name: replace(
            reader,
            input=node.input,
            weight=weight.reshape(outputs, channels, height * block, width * block),
            stride=tuple(block * int(step) for step in reader.stride),
            padding=tuple(block * int(amount) for amount in reader.padding),
        ),
    }


def _ordered_twice(found: _Found, node: Node) -> _Changes | None:
    """An order of channels of an order of channels."""
    if not isinstance(node, Channels):
        return None
    readers = found.read_by(node.name)
    if not readers or not all(isinstance(reader, Channels) for reader in readers):
        return None
    return {node.name: None} | {
        reader.name: replace(reader, input=node.input, index=node.index[reader.index])
        for reader in readers
    }


def _order_before(found: _Found, node: Node) -> _Changes | None:
    """The channels of a sum over all channels in another order: that of its weights."""
    if not isinstance(node, Channels):
        return None
    lanes, filters = found.config.lanes, found.config.filters
    index, count = node.index, len(node.index)
    if len(set(index.tolist())) < count:
        # The sum of two weights is no weight.
        return None
    # Channel groups that sums then read beyond those that the chosen channels fill.
    extra = int(index.max()) // lanes - int(index.min()) // lanes + 1 - -(-count // lanes)
    steps = 0
    changes: _Changes = {node.name: None}
    for reader in found.read_by(node.name):
        if not isinstance(reader, Linear | Conv2d) or getattr(reader, "groups", 1) > 1:
            return None
        outputs, _, *kernel = reader.weight.shape
        steps += extra * -(-outputs // filters) * prod(kernel)
        weight = np.zeros((outputs, found.types[node.input].shape[0], *kernel), np.int64)
        weight[:, index] = reader.weight
        changes[reader.name] = replace(reader, input=node.input, weight=weight)
    # Those of a pass that puts the channels in order: none if they begin a word and follow.
    saved = 0 if is_slice(found.config, node) else -(-count // filters)
    return changes if len(changes) > 1 and steps <= saved else None


def _order_behind(found: _Found, node: Node) -> _Changes | None:
    """The channels of a sum in another order, or some of them: filters in that order."""
    if not isinstance(node, Channels):
        return None
    requantize = found.nodes[node.input]
    if not isinstance(requantize, Requantize) or len(found.read_by(requantize.name)) != 1:
        return None
    sums = found.nodes[requantize.input]
    if not isinstance(sums, Conv2d | ConvTranspose2d | Linear):
        return None
    if getattr(sums, "groups", 1) > 1 or len(node.index) > len(sums.weight):
        return None
    return {
        sums.name: replace(
            sums, weight=sums.weight[node.index], weight_exponent=sums.weight_exponent[node.index]
        ),
        requantize.name: None,
        node.name: replace(
            requantize,
            name=node.name,
            **{
                field: getattr(requantize, field)[node.index]
                for field in ("multiplier", "bias", "shift")
            },
        ),
    }
