"""Sizes, widths and costs of a graph, node by node."""

from dataclasses import dataclass, fields
from math import prod

import numpy as np

from .bounds import required_bits
from .nodes import Conv2d, Graph, Linear, Node, TensorType
from .operators import ConvTranspose2d
from .packing import packed_size
from .storage import array_encoding
from .validate import check_graph

__all__ = ["NodeReport", "describe"]


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """One row of the table.

    name, op : the node and its kind.
    shape, bits, signed : its tensor, without the batch.
    acc_bits : declared width of the accumulator, None where there is none.
    needed_bits : width that is proved to suffice, None where there is none.
    weight_bits : width of a stored weight, None where there are none.
    zeros : share of the weights that are zero, 0...1, None where there are none.
    macs : multiplications by a weight per image; padded positions count, zero weights too, but not
        the zeros between the positions of a transposed convolution.
    bytes : what the node's arrays take in the graph's file.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    acc_bits: int | None
    needed_bits: int | None
    weight_bits: int | None
    zeros: float | None
    macs: int
    bytes: int


def describe(graph: Graph) -> list[NodeReport]:
    """A report for each node of ``graph``, in order.

    Raises :class:`GraphError` for an invalid graph.
    """
    types, bounds = check_graph(graph)
    rows = []
    for node in graph.nodes:
        code, bound = types[node.name], bounds[node.name]
        weighted = isinstance(node, (Conv2d, Linear, ConvTranspose2d))
        rows.append(
            NodeReport(
                name=node.name,
                op=type(node).__name__,
                shape=code.shape,
                bits=code.bits,
                signed=code.signed,
                acc_bits=int(node.acc_bits) if code.is_accumulator else None,
                needed_bits=required_bits(*bound.partial) if code.is_accumulator else None,
                weight_bits=int(node.weight_bits) if weighted else None,
                zeros=float(np.mean(node.weight == 0)) if weighted else None,
                macs=_macs(node, types) if weighted else 0,
                bytes=_bytes(node),
            )
        )
    return rows


def _macs(node: Node, types: dict[str, TensorType]) -> int:
    if isinstance(node, ConvTranspose2d):  # every position of the input meets every weight
        return prod(types[node.input].shape[1:]) * node.weight.size
    return prod(types[node.name].shape[1:]) * node.weight.size


def _bytes(node: Node) -> int:
    total = 0
    for field in fields(node):
        values = getattr(node, field.name)
        if field.name == "weight":
            total += packed_size(values.size, node.weight_bits)
        elif field.type is np.ndarray:
            total += values.size * array_encoding(values).itemsize
    return total
