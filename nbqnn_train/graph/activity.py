"""Counts the codes that occur in a graph, and the values that are clipped."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .interpreter import requantize, run
from .nodes import Conv2d, Graph, Input, Linear, Requantize
from .operators import ConvTranspose2d

__all__ = ["Activity", "activity", "weight_histogram"]

#: Bits; more than any code needs that is rounded from a 64-bit sum.
_UNLIMITED = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What one quantizer (Input or Requantize) did with some images.

    below, above : share of its values that were clipped to ``low`` and to ``high``, 0...1. For a
        ReLU ``below`` is the share of negative values, which is no loss.
    histogram : how often each code occurred; codes that did not occur are left out.
    """

    name: str
    below: float
    above: float
    histogram: dict[int, int]


def activity(graph: Graph, x: np.ndarray | Mapping[str, np.ndarray]) -> list[Activity]:
    """The activity of every quantizer on real input ``x``, as :func:`run` takes it."""
    trace = run(graph, x, trace=True)
    rows = []
    for node in graph.nodes:
        if isinstance(node, Input):
            images = x[node.name] if isinstance(x, Mapping) else x
            scaled = np.ldexp(np.asarray(images, dtype=np.float64), -int(node.exponent))
            free = np.floor(scaled + 0.5)
            low = -(1 << (node.bits - 1)) if node.signed else 0
            high = low + (1 << node.bits) - 1
        elif isinstance(node, Requantize):
            free = requantize(
                trace[node.input], node.multiplier, node.bias, node.shift, *_UNLIMITED
            )
            low, high = node.low, node.high
        else:
            continue
        codes, counts = np.unique(trace[node.name], return_counts=True)
        rows.append(
            Activity(
                name=node.name,
                below=float(np.mean(free < low)),
                above=float(np.mean(free > high)),
                histogram={int(c): int(n) for c, n in zip(codes, counts, strict=True)},
            )
        )
    return rows


def weight_histogram(node: Conv2d | Linear | ConvTranspose2d) -> dict[int, int]:
    """How often each weight occurs: 0 and signed powers of two."""
    weights, counts = np.unique(node.weight, return_counts=True)
    return {int(w): int(n) for w, n in zip(weights, counts, strict=True)}
