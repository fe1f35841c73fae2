"""Sizes, weights and use of codes of a graph, node by node."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np

from .activity import activity, weight_histogram
from .nodes import Conv2d, Graph, Linear
from .operators import ConvTranspose2d
from .report import NodeReport, describe
from .results import Result

__all__ = ["GraphSummary", "NodeSummary", "summarize"]


@dataclass(frozen=True, kw_only=True)
class NodeSummary(NodeReport):
    """A node's sizes and, where they apply, its weights and codes.

    weights : how often each weight occurs, by weight.
    below, above : the share of values that were clipped at either end, 0...1.
    codes : how often each code occurred, by code, the smallest first.
    weight_error, error : of weights and values against full precision, as shares of its norm.
    """

    weights: dict[int, int] | None = None
    below: float | None = None
    above: float | None = None
    codes: dict[int, int] | None = None
    weight_error: float | None = None
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class GraphSummary(Result):
    """The nodes of a graph with their summaries.

    images : number of images whose codes were counted.
    nodes : in the graph's order.
    """

    kind: ClassVar[str] = "inspect"

    images: int
    nodes: tuple[NodeSummary, ...]


def summarize(graph: Graph, batches: Iterable[np.ndarray] = ()) -> GraphSummary:
    """Sizes and weights of every node, and clipping and codes of quantizers (Input, Requantize).

    Codes are counted over ``batches``, arrays as :func:`nbqnn_train.graph.run` takes them. Without
    images none are counted. Raises :class:`GraphError` for an invalid graph.
    """
    nodes = {row.name: NodeSummary(**asdict(row)) for row in describe(graph)}
    for node in graph.nodes:
        if isinstance(node, (Conv2d, Linear, ConvTranspose2d)):
            nodes[node.name] = replace(nodes[node.name], weights=weight_histogram(node))
    images = 0
    clipped: Counter[tuple[str, str]] = Counter()
    codes: dict[str, Counter[int]] = {}
    for batch in batches:
        images += len(batch)
        for row in activity(graph, batch):
            clipped[row.name, "below"] += row.below * len(batch)
            clipped[row.name, "above"] += row.above * len(batch)
            codes.setdefault(row.name, Counter()).update(row.histogram)
    for name, histogram in codes.items():
        nodes[name] = replace(
            nodes[name],
            below=clipped[name, "below"] / images,
            above=clipped[name, "above"] / images,
            codes=dict(sorted(histogram.items())),
        )
    return GraphSummary(images=images, nodes=tuple(nodes.values()))
