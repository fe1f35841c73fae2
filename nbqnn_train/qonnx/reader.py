"""The state of an import: the graph so far, and what each tensor of the model is in it."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.bounds import narrowed, node_interval
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import node_type
from nbqnn_train.graph.limits import MAX_NAME
from nbqnn_train.graph.nodes import Graph, Input, Node, TensorType
from nbqnn_train.graph.validate import validate

from .lines import Chain
from .model import Model, Operator
from .values import Leaf, Value

__all__ = ["Options", "Reader", "Unknown", "fractions"]

#: Most elements of a broadcast constant that is searched for one number per channel.
_MAX_SPREAD = 1 << 24


def fractions(values: np.ndarray) -> tuple[Fraction, ...]:
    """The values as fractions, in row-major order; one entry if all are equal."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    if flat.size and (flat == flat[0]).all():
        flat = flat[:1]
    return tuple(Fraction(float(v)) for v in flat)


class Unknown(Exception):
    """An operand was refused before, so there is nothing new to report."""


@dataclass(frozen=True)
class Options:
    """How a model is read.

    exact : refuse what the graph can only approximate.
    input_format : (signed, bits, exponent) of inputs that the model does not quantize, or None.
    round_weights : bits to round weights to that are no powers of two, or None.
    round_outputs : round outputs that the model leaves in floating point, even with ``exact``.
    """

    exact: bool = True
    input_format: tuple[bool, int, int] | None = None
    round_weights: int | None = None
    round_outputs: bool = False


class Reader:
    """Builds a graph while a model is read; ``values`` says what each tensor of the model is.

    A tensor is a constant (an array), a :data:`Value`, or None where it was refused.
    """

    def __init__(self, model: Model, options: Options):
        self.model = model
        self.options = options
        self.nodes: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        #: Codes that each node can have, per channel.
        self.intervals: dict[str, object] = {}
        self.values: dict[str, object] = dict(model.constants)
        #: Activations that were made of real values, by identity of the value.
        self.settled: dict[int, tuple[Value, Leaf]] = {}
        self.notes: list[str] = []
        #: Quantizers that are not exact, by flaw: ``ties``, ``scale``.
        self.flaws: dict[str, list[str]] = {}
        for item in model.inputs:
            if item.integers is None:
                self.values[item.name] = Leaf(item.name, item.shape, Chain(), real=True)
            else:
                signed, bits = item.integers
                name = self.put(
                    Input(
                        name=self.free(item.name),
                        shape=item.shape,
                        bits=bits,
                        signed=signed,
                        exponent=0,
                    )
                )
                self.values[item.name] = Leaf(name, item.shape, Chain())

    def free(self, wanted: str) -> str:
        """A name for a node: ``wanted`` where it is allowed and not taken."""
        readable = "".join(c if c.isprintable() else "_" for c in wanted)[: MAX_NAME - 8] or "_"
        name, number = readable, 1
        while name in self.nodes:
            number += 1
            name = f"{readable}#{number}"
        return name

    def put(self, node: Node) -> str:
        """Adds ``node``, checks it and returns its name."""
        self.types[node.name] = node_type(node, *(self.types[name] for name in node.inputs))
        self.nodes[node.name] = node
        sources = (self.intervals[name] for name in node.inputs)
        self.intervals[node.name] = node_interval(node, self.types, *sources)
        return node.name

    def interval(self, name: str, channel: int) -> tuple[int, int]:
        """Codes that ``channel`` of a node can have."""
        span = self.intervals[name]
        at = 0 if span.low.size == 1 else channel
        return int(span.low[at]), int(span.high[at])

    def graph(self, outputs: list[str], final: list[str]) -> Graph:
        """The valid graph of the nodes that ``outputs`` need, with the narrowest accumulators.

        final : what the model applies after each output.
        """
        needed = set(outputs)
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        nodes = [node for node in self.nodes.values() if node.name in needed]
        names = self._shortened(needed)
        graph = Graph(
            nodes=tuple(_renamed(node, names) for node in nodes),
            outputs=tuple(names.get(name, name) for name in outputs),
            final=tuple(final) if set(final) != {"none"} else (),
        )
        graph = narrowed(graph)
        validate(graph)
        return graph

    def _shortened(self, needed: set[str]) -> dict[str, str]:
        """New names for nodes whose names no longer need a number."""
        names = {}
        for name in needed:
            stem, mark, number = name.rpartition("#")
            if mark and number.isdigit() and stem in self.nodes and stem not in needed:
                needed_twice = stem in names.values()
                if not needed_twice:
                    names[name] = stem
        return names

    def value(self, op: Operator, number: int):
        """Input ``number``: an array or a :data:`Value`."""
        name = op.inputs[number] if number < len(op.inputs) else ""
        if name not in self.values:
            raise GraphError(f"{op.what}: input {number} ({name!r}) is missing")
        value = self.values[name]
        if value is None:
            raise Unknown
        return value

    def given(self, op: Operator, number: int) -> bool:
        """Whether there is an input ``number``."""
        return number < len(op.inputs) and bool(op.inputs[number])

    def constant(self, op: Operator, number: int) -> np.ndarray:
        value = self.value(op, number)
        if not isinstance(value, np.ndarray):
            raise GraphError(f"{op.what}: input {number} must be constant")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            at = np.unravel_index(int(np.argmin(np.isfinite(value))), value.shape)
            where = f" at {[int(i) for i in at]}" if at else ""
            raise GraphError(f"{op.what}: input {number} must be finite, not {value[at]}{where}")
        return value

    def varying(self, op: Operator, number: int = 0) -> Value:
        """Input ``number``, which must not be constant."""
        value = self.value(op, number)
        if isinstance(value, np.ndarray):
            raise GraphError(f"{op.what}: input {number} must not be constant")
        return value

    def model_shape(self, name: str, value: Value) -> tuple[int, ...]:
        """Shape of a tensor in the model, with a batch of one."""
        return self.model.shapes.get(name, (1, *value.shape))

    def per_channel(self, op: Operator, number: int, value: Value) -> tuple[Fraction, ...]:
        """Constant input ``number`` as one number, or one per channel of the operand ``value``."""
        constant = self.constant(op, number)
        numbers = fractions(constant)
        if len(numbers) == 1:
            return numbers
        other = next(name for i, name in enumerate(op.inputs) if i != number)
        shape = self.model_shape(other, value)
        channels = value.shape[0]
        spread = self._spread(constant, shape)
        if spread is None or spread.size % channels:
            raise GraphError(
                f"{op.what}: constant of shape {constant.shape} must hold one number per channel "
                f"of {shape}"
            )
        rows = spread.reshape(channels, -1)
        if (rows != rows[:, :1]).any():
            by_channel = (channels, *(1,) * (len(shape) - 2))
            raise GraphError(
                f"{op.what}: constant of shape {constant.shape} must be equal within each channel; "
                f"numbers by channel have the shape {by_channel}"
            )
        return fractions(rows[:, 0])

    def _spread(self, constant: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        aligned = (1,) * (len(shape) - constant.ndim) + constant.shape
        if len(aligned) != len(shape):
            return None
        if any(a not in (1, size) for a, size in zip(aligned, shape, strict=True)):
            return None
        constant = constant.reshape(aligned)
        # One number per channel need not be broadcast.
        if len(shape) > 1 and aligned[1] == shape[1] and set(aligned[2:]) <= {1} and shape[0] == 1:
            return constant.reshape(-1)
        elements = int(np.prod(shape, dtype=np.float64))
        return np.broadcast_to(constant, shape) if elements <= _MAX_SPREAD else None


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if not names:
        return node
    changed = {"name": names.get(node.name, node.name)}
    if hasattr(node, "operands"):
        changed["operands"] = tuple(names.get(name, name) for name in node.operands)
    elif hasattr(node, "input"):
        changed["input"] = names.get(node.input, node.input)
    return replace(node, **changed)
