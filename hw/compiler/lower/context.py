"""The state of lowering: the graph and all that was found out about it."""

from collections import Counter
from functools import cached_property

import numpy as np

from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.compiler.views import View
from hw.contract.config import AcceleratorConfig
from hw.contract.image_blocks import ImageBlocks
from hw.contract.words import stored_offset
from nbqnn_train.graph import (
    Constant,
    Conv2d,
    Graph,
    Linear,
    Node,
    accumulator_bounds,
    tensor_types,
)

__all__ = ["Context", "as_map"]


def as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width. A vector is a map of one position."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


class Context:
    """The graph, the configuration, and the tensors and layers so far.

    types : node's name -> type. Intermediate results of a concatenation are added.
    users : node's name -> how many nodes read it.
    shapes : stored tensor -> channels, height, width.
    offsets : stored tensor -> code less stored code.
    aliases : flattened tensor -> the stored tensor that it is.
    constants : stored tensor that is a constant -> its codes.
    views : tensor -> the channels of a larger tensor that it is.
    blocks : how the host lays out the image; None if it leaves it as it is.
    """

    def __init__(self, graph: Graph, config: AcceleratorConfig):
        self.graph = graph
        self.config = config
        self.types = tensor_types(graph)
        self.users = Counter(name for node in graph.nodes for name in node.inputs)
        self.layers: list[Layer] = []
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.offsets: dict[str, int] = {}
        self.aliases: dict[str, str] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.views: dict[str, View] = {}
        self.blocks: ImageBlocks | None = None

    def add_tensor(self, name: str) -> None:
        """Notes that the node's result is stored."""
        type_ = self.types[name]
        self.shapes[name] = as_map(type_.shape)
        self.offsets[name] = stored_offset(self.config, type_)

    @cached_property
    def sums(self) -> dict[str, tuple[int, int]]:
        """Node -> smallest and largest value of its sums."""
        return accumulator_bounds(self.graph)

    def new_name(self, name: str) -> str:
        """``name``, or what it becomes so that no other tensor has it."""
        while name in self.types:
            name += "'"
        return name

    def offset_of(self, name: str) -> int:
        """What is subtracted from the codes of a node before they are stored."""
        return stored_offset(self.config, self.types[name])

    def memory_of(self, name: str) -> str:
        """The stored tensor behind a node."""
        return self.aliases.get(name, name)

    def constant(self, name: str) -> np.ndarray | None:
        """The codes (C,) of a constant, one for each channel.

        None for what is no such constant: it may differ from position to position.
        """
        node = self.graph[name]
        if not isinstance(node, Constant):
            return None
        rows = node.codes.reshape(len(node.codes), -1).astype(np.int64)
        return None if (rows != rows[:, :1]).any() else rows[:, 0]

    def is_stored(self, node: Constant) -> bool:
        """Whether a constant is a map in the host's memory, because it differs by position."""
        needed = self.users[node.name] or node.name in self.graph.outputs
        return bool(needed) and self.constant(node.name) is None

    def positions(self, node: Node) -> int:
        """How many positions a stored tensor has."""
        _, height, width = self.shapes[node.name]
        return height * width

    def check_weight_bits(self, node: Conv2d | Linear) -> None:
        """Raises :class:`CompileError` for weights of more bits than the configuration has."""
        if node.weight_bits > self.config.weight_bits:
            raise CompileError(
                f"layer {node.name}: {node.weight_bits}-bit weights must be of at most weight_bits "
                f"= {self.config.weight_bits} of the configuration"
            )
