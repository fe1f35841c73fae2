"""Everything that is known of a graph, as a dictionary for JSON: sizes, weights, use of codes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from .activity import activity, weight_histogram
from .nodes import Conv2d, Graph, Linear
from .operators import ConvTranspose2d
from .report import describe

__all__ = ["summarize"]


def summarize(graph: Graph, batches: Iterable[np.ndarray] = ()) -> dict:
    """``{"images": n, "nodes": [...]}``, one dictionary for each node, in order.

    It has the fields of :class:`NodeReport` and, where they apply,

    - ``weights``: how often each weight occurs, by weight;
    - ``below`` and ``above``: the share of values that were clipped at either end, 0...1;
    - ``codes``: how often each code occurred, by code.

    The last two are those of quantizers (Input and Requantize). They need an image in ``batches``,
    arrays as :func:`nbqnn_train.graph.run` takes them.
    """
    nodes = {row.name: asdict(row) for row in describe(graph)}
    for node in graph.nodes:
        if isinstance(node, (Conv2d, Linear, ConvTranspose2d)):
            nodes[node.name]["weights"] = weight_histogram(node)
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
        nodes[name] |= {
            "below": clipped[name, "below"] / images,
            "above": clipped[name, "above"] / images,
            "codes": dict(sorted(histogram.items())),
        }
    return {"images": images, "nodes": list(nodes.values())}
