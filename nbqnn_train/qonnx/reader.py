"""The graph that an import builds, and what the model's tensors are in it."""

from fractions import Fraction

import numpy as np

from nbqnn_train.graph.bounds import narrowed
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import node_type
from nbqnn_train.graph.nodes import Graph, Node, TensorType
from nbqnn_train.graph.validate import validate

from .affine import Affine
from .model import Model, Operator

__all__ = ["Reader", "fractions"]


def fractions(values: np.ndarray) -> list[Fraction]:
    """Exact numbers, in row-major order."""
    return [Fraction(float(v)) for v in np.asarray(values).reshape(-1)]


class Reader:
    """A graph that grows while a model is read; ``values`` holds what each tensor of the model is.

    A tensor is a constant, an :class:`Affine`, or the name (str) of an activation of the graph.
    """

    def __init__(self, model: Model, exact: bool):
        self.model = model
        self.exact = exact
        self.nodes: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        self.values: dict[str, object] = dict(model.constants)
        # Steps (per output channel) of weights that a Quant has quantized.
        self.steps: dict[str, np.ndarray] = {}
        self.requantized: set[str] = set()
        # Layers whose weights are no longer what the values that are already known refer to.
        self.changed: set[str] = set()
        for name, shape in model.inputs.items():
            ones = (Fraction(1),) * shape[0]
            self.values[name] = Affine(name, ones, (Fraction(0),) * shape[0], real=True)

    def graph(self) -> Graph:
        outputs = []
        for name in self.model.outputs:
            value = self.values.get(name)
            if not isinstance(value, str):
                raise GraphError(f"Output {name!r} must be the result of a Quant")
            outputs.append(value)
        needed = set(outputs)
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        nodes = tuple(node for node in self.nodes.values() if node.name in needed)
        graph = narrowed(Graph(nodes=nodes, outputs=tuple(dict.fromkeys(outputs))))
        validate(graph)
        return graph

    def put(self, node: Node) -> str:
        """Adds ``node``, checks it and returns its name."""
        if node.name in self.nodes:
            raise GraphError(f"{type(node).__name__} {node.name!r}: the name is taken")
        self.types[node.name] = node_type(node, *(self.types[name] for name in node.inputs))
        self.nodes[node.name] = node
        return node.name

    def change(self, node: Node) -> None:
        """Puts ``node`` in the place of the one of its name."""
        self.types[node.name] = node_type(node, *(self.types[name] for name in node.inputs))
        self.nodes[node.name] = node
        self.changed.add(node.name)

    def value(self, op: Operator, number: int):
        name = op.inputs[number] if number < len(op.inputs) else ""
        if name not in self.values:
            raise GraphError(f"{op.what}: input {number} ({name!r}) is missing")
        return self.values[name]

    def constant(self, op: Operator, number: int) -> np.ndarray:
        value = self.value(op, number)
        if not isinstance(value, np.ndarray):
            raise GraphError(f"{op.what}: input {number} must be constant")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            at = np.unravel_index(int(np.argmin(np.isfinite(value))), value.shape)
            where = f" at {[int(i) for i in at]}" if at else ""
            raise GraphError(f"{op.what}: input {number} must be finite, not {value[at]}{where}")
        return value

    def activation(self, op: Operator, number: int = 0) -> str:
        value = self.value(op, number)
        if not isinstance(value, str):
            raise GraphError(f"{op.what}: input {number} must be the result of a Quant")
        return value

    def affine(self, op: Operator, number: int = 0) -> Affine:
        """Input ``number`` as real values of a tensor of the graph."""
        value = self.value(op, number)
        return value if isinstance(value, Affine) else self.reals(value)

    def reals(self, name: str) -> Affine:
        code = self.types[name]
        channels = code.shape[0]
        exponent = code.exponent if code.is_accumulator else (code.exponent,) * channels
        scale = tuple(Fraction(2) ** e for e in exponent)
        return Affine(name, scale, (Fraction(0),) * channels)

    def per_channel(self, op: Operator, values: np.ndarray, channels: int) -> list[Fraction]:
        """A constant operand that is one number, or one for each channel."""
        numbers = fractions(values)
        if len(numbers) == 1:
            return numbers * channels
        rank = 1 + len(self.shape(op))
        shape = (1,) * (rank - values.ndim) + values.shape
        if shape != (1, channels, *(1,) * (rank - 2)):
            raise GraphError(
                f"{op.what}: constant of shape {values.shape} must hold one number per channel"
            )
        return numbers

    def shape(self, op: Operator) -> tuple[int, ...]:
        """Shape of the operand that is not constant."""
        for name in op.inputs:
            value = self.values.get(name)
            if isinstance(value, str):
                return self.types[value].shape
            if isinstance(value, Affine):
                source = value.source
                return self.model.inputs[source] if value.real else self.types[source].shape
        raise GraphError(f"{op.what}: must have an operand that is not constant")
