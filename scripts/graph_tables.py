"""Tables of ``inspect``: the nodes of a graph, and errors, clipping and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from scripts.tables import plain_table

if TYPE_CHECKING:  # as in tables
    from nbqnn_train.graph.summary import NodeSummary

__all__ = ["CAPTION", "node_table", "quantization_table"]

#: Explains the columns of the table.
CAPTION = (
    "weights: how often each level occurs, from the most negative to the most positive. "
    "codes: how often the node's values occur, in eight parts of its format's range. "
    "error: the distance to full precision, as a share of the size of what is in full precision "
    "(Euclidean norms), of the weights before it and of the values. "
    "below, above: the share of the values that were clipped at the format's lower and upper end; "
    "what a ReLU cuts off is below 0 and so counts as below."
)
#: Bars of a histogram, from the lowest to the highest.
_BARS = "▁▂▃▄▅▆▇█"
#: Number of bars for the codes of an activation, over the whole range of its format.
_BINS = 8


def node_table(nodes: Sequence[NodeSummary]) -> Table:
    """The nodes of a summary, and a row of sums."""
    table = plain_table(
        "node", "kind", "shape", "bits", "acc", "zeros", "MACs", "bytes", title="Integer graph"
    )
    for node in nodes:
        table.add_row(
            node.name,
            node.op,
            "×".join(map(str, node.shape)),
            f"{node.weight_bits or node.bits}" if _has_codes(node) else "",
            _accumulator(node),
            "" if node.zeros is None else f"{node.zeros:.0%}",
            f"{node.macs:,}" if node.macs else "",
            f"{node.bytes:,}" if node.bytes else "",
        )
    table.add_section()
    macs, size = sum(node.macs for node in nodes), sum(node.bytes for node in nodes)
    table.add_row("in all", "", "", "", "", "", f"{macs:,}", f"{size:,}")
    return table


def _has_codes(node: NodeSummary) -> bool:
    """Whether a node has weights or an activation, and so a width besides its accumulator's."""
    return node.acc_bits is None or node.weight_bits is not None


def _accumulator(node: NodeSummary) -> str:
    """Width of the accumulator, and the bits that would suffice if they are fewer."""
    if node.acc_bits is None:
        return ""
    needed = "" if node.needed_bits == node.acc_bits else f" (needs {node.needed_bits})"
    return f"{node.acc_bits}{needed}"


def quantization_table(nodes: Sequence[NodeSummary]) -> Table:
    """Errors, clipping and histograms of the nodes of a summary."""
    table = plain_table(
        *("node", "weights", "error", "codes", "error", "below", "above"),
        title="What quantization did",
    )
    table.caption, table.caption_justify = CAPTION, "left"
    for node in nodes:
        if node.weights is None and node.codes is None:
            continue
        table.add_row(
            node.name,
            "" if node.weights is None else _bars(_levels(node.weights)),
            _share(node.weight_error),
            "" if node.codes is None else _bars(_binned(node)),
            _share(node.error),
            _share(node.below),
            _share(node.above),
        )
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _levels(histogram: dict[int, int]) -> list[int]:
    """Counts of all levels from negative to positive, as far out as levels occur."""
    largest = max(abs(weight) for weight in histogram)
    powers = [1 << log2 for log2 in range(largest.bit_length())]
    levels = [*(-power for power in reversed(powers)), 0, *powers]
    return [histogram.get(level, 0) for level in levels]


def _binned(node: NodeSummary) -> list[int]:
    span = 1 << node.bits
    low = -(span >> 1) if node.signed else 0
    bins = [0] * min(_BINS, span)
    for code, count in node.codes.items():
        bins[(code - low) * len(bins) // span] += count
    return bins


def _bars(counts: Sequence[int]) -> str:
    most = max(counts)
    return "".join(_BARS[-(-count * len(_BARS) // most) - 1] if count else " " for count in counts)
