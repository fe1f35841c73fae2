"""Bounds of the values that can occur: the proof that no accumulator overflows.

Every tensor gets one interval of codes per channel, from the formats of the inputs through every
``low``/``high`` of requantizers and clips. Intervals are carried in Python integers or in int64
where that is proved wide enough; nothing here is rounded.

An accumulator's bound holds for every partial sum in any order of its terms, the empty one
included: ``low = min over channels of sum(min(0, smallest term))`` and ``high`` likewise. An input
that can take every value of its interval reaches the bound, so it is the tightest one.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from . import limits
from .checks import label
from .errors import GraphError
from .infer import tensor_types
from .intervals import Interval, Step, ends, joined, weighted
from .nodes import (
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
from .operators import OPERATORS

__all__ = [
    "NodeBounds",
    "accumulator_bounds",
    "graph_bounds",
    "narrowed",
    "node_interval",
    "required_bits",
    "value_bounds",
]

#: Flatten keeps one interval per feature up to this length, and one for the whole vector beyond. So
#: a few bytes of an untrusted file cannot ask for a large allocation.
_MAX_INTERVALS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class NodeBounds:
    """Proved bounds of one node; both ends are included.

    low, high : the values of the tensor, over all channels.
    partial : for accumulators ``(low, high)`` of every partial sum, else None.
    wide : for requantizers ``(low, high)`` of ``acc * multiplier + bias + half``, else None.
    magnitude : for accumulators the largest sum of absolute values of their terms, else 0.
    """

    low: int
    high: int
    partial: tuple[int, int] | None = None
    wide: tuple[int, int] | None = None
    magnitude: int = 0


def required_bits(low: int, high: int) -> int:
    """Width of the narrowest two's complement format that holds ``low``..``high``."""
    if low > high:
        raise ValueError(f"Bounds must be ordered, not {low!r}..{high!r}")
    return 1 + max((value if value >= 0 else ~value).bit_length() for value in (low, high))


def accumulator_bounds(graph: Graph) -> dict[str, tuple[int, int]]:
    """``(low, high)`` of every partial sum of each accumulator, by name of its node.

    ``acc_bits`` must be at least ``required_bits(low, high)``. This function does not check it: an
    exporter asks for the bound before it chooses the width.
    """
    return {name: b.partial for name, b in graph_bounds(graph).items() if b.partial is not None}


def value_bounds(graph: Graph) -> dict[str, tuple[int, int]]:
    """Smallest and largest code that each tensor can hold, by name."""
    return {name: (b.low, b.high) for name, b in graph_bounds(graph).items()}


def narrowed(graph: Graph) -> Graph:
    """``graph`` with the narrowest ``acc_bits`` that are proved to suffice.

    Raises :class:`GraphError` if an accumulator needs more than 48 bits. The message says the node,
    the bound and the width.
    """
    bounds = accumulator_bounds(graph)
    nodes = []
    for node in graph.nodes:
        if node.name in bounds:
            low, high = bounds[node.name]
            # At least 2 bits, also for a node whose weights are all zero: one would suffice there.
            width = max(required_bits(low, high), limits.ACC_BITS[0])
            if width > limits.ACC_BITS[1]:
                raise GraphError(
                    f"{label(node)}: accumulators can reach {low}..{high}, which "
                    f"takes {width} bits; "
                    f"at most {limits.ACC_BITS[1]} are allowed"
                )
            node = replace(node, acc_bits=width)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def graph_bounds(graph: Graph, types: dict[str, TensorType] | None = None) -> dict[str, NodeBounds]:
    """Bounds of every node. ``types`` is ``tensor_types(graph)``, if the caller has it."""
    if types is None:
        types = tensor_types(graph)
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    alive: dict[str, Interval] = {}
    bounds = {}
    for node in graph.nodes:
        step = _step(node, types, *(alive[source] for source in node.inputs))
        bounds[node.name] = NodeBounds(
            low=int(step.values.low.min()),
            high=int(step.values.high.max()),
            partial=step.partial,
            wide=step.wide,
            magnitude=step.magnitude,
        )
        alive[node.name] = step.values
        for source in node.inputs:
            readers[source] -= 1
            if not readers[source]:
                del alive[source]
    return bounds


def node_interval(node: Node, types: dict[str, TensorType], *sources: Interval) -> Interval:
    """Smallest and largest code per channel of the tensor of ``node``, which reads ``sources``.

    For those who build a graph node by node; ``types`` holds the node's own tensor too.
    """
    return _step(node, types, *sources).values


def _step(node: Node, types: dict[str, TensorType], *sources: Interval) -> Step:
    rule = _RULES.get(type(node)) or OPERATORS[type(node)].bound
    return rule(node, types, *sources)


def _input(node: Input, types: dict[str, TensorType]) -> Step:
    code = types[node.name]
    return Step(values=Interval(np.array([code.low]), np.array([code.high])))


def _conv(node: Conv2d, types: dict[str, TensorType], source: Interval) -> Step:
    return weighted(node.weight, node.groups, source, any(node.padding))


def _linear(node: Linear, types: dict[str, TensorType], source: Interval) -> Step:
    return weighted(node.weight, 1, source, False)


def _same(node: MaxPool2d, types: dict[str, TensorType], source: Interval) -> Step:
    return Step(values=source)


def _avg_pool(node: AvgPool2d, types: dict[str, TensorType], source: Interval) -> Step:
    # Below 2**57: a kernel of at most 2**32 positions, a multiplier of at most 2**8, codes of 16
    # bits.
    factor = node.kernel[0] * node.kernel[1] * int(node.multiplier)
    below, above = np.minimum(source.low, 0), np.maximum(source.high, 0)
    partial = Interval(below * factor, above * factor)
    values = partial if any(node.padding) else Interval(source.low * factor, source.high * factor)
    # Every position at its larger end.
    magnitude = max(abs(end) for end in ends(partial))
    return Step(values=values, partial=ends(partial), magnitude=magnitude)


def _add(node: Add, types: dict[str, TensorType], a: Interval, b: Interval) -> Step:
    (low_a, high_a), (low_b, high_b) = (
        (x.low << int(s), x.high << int(s)) for x, s in zip((a, b), node.shifts, strict=True)
    )
    partial = Interval(
        np.minimum(low_a, 0) + np.minimum(low_b, 0), np.maximum(high_a, 0) + np.maximum(high_b, 0)
    )
    magnitude = int((np.maximum(-low_a, high_a) + np.maximum(-low_b, high_b)).max())
    values = Interval(low_a + low_b, high_a + high_b)
    return Step(values=values, partial=ends(partial), magnitude=magnitude)


def _concat(node: Concat, types: dict[str, TensorType], *sources: Interval) -> Step:
    lows = {int(end) for source in sources for end in (source.low.min(), source.low.max())}
    highs = {int(end) for source in sources for end in (source.high.min(), source.high.max())}
    if len(lows) == len(highs) == 1 or types[node.name].shape[0] > _MAX_INTERVALS:
        return Step(values=Interval(np.array([min(lows)]), np.array([max(highs)])))
    parts = [
        source.expand(types[name].shape[0])
        for name, source in zip(node.operands, sources, strict=True)
    ]
    return Step(values=joined(parts))


def _flatten(node: Flatten, types: dict[str, TensorType], source: Interval) -> Step:
    features = types[node.name].shape[0]
    if source.low.size == 1:
        return Step(values=source)
    if features > _MAX_INTERVALS:
        low, high = ends(source)
        return Step(values=Interval(np.array([low]), np.array([high])))
    repeat = features // source.low.size
    return Step(values=Interval(np.repeat(source.low, repeat), np.repeat(source.high, repeat)))


def _clip(node: Clip, types: dict[str, TensorType], source: Interval) -> Step:
    return Step(
        values=Interval(
            np.clip(source.low, node.low, node.high), np.clip(source.high, node.low, node.high)
        )
    )


def _requantize(node: Requantize, types: dict[str, TensorType], source: Interval) -> Step:
    source = source.expand(node.multiplier.size)
    # Python integers: the sum may need more than 64 bits, and this has to be found out.
    ends = []
    half = [(1 << int(s)) >> 1 for s in node.shift]
    for codes in (source.low, source.high):
        ends.append(
            [
                int(code) * int(multiplier) + int(bias) + rest
                for code, multiplier, bias, rest in zip(
                    codes, node.multiplier, node.bias, half, strict=True
                )
            ]
        )
    shifts = [int(s) for s in node.shift]
    low, high = (
        np.array([min(max(v >> s, node.low), node.high) for v, s in zip(end, shifts, strict=True)])
        for end in ends
    )
    return Step(values=Interval(low, high), wide=(min(ends[0]), max(ends[1])))


_RULES = {
    Input: _input,
    Conv2d: _conv,
    Linear: _linear,
    MaxPool2d: _same,
    AvgPool2d: _avg_pool,
    Add: _add,
    Concat: _concat,
    Flatten: _flatten,
    Clip: _clip,
    Requantize: _requantize,
}
