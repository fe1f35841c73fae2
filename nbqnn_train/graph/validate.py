"""Validates a graph: interpreter and hardware take no other."""

from .bounds import NodeBounds, graph_bounds, required_bits
from .checks import label
from .errors import GraphError
from .infer import tensor_types
from .limits import FINAL
from .nodes import Graph, TensorType

__all__ = ["validate"]


def validate(graph: Graph) -> None:
    """Checks ``graph`` against the whole contract; see ``SPEC.md``.

    That is names, order, fields, shapes, formats, outputs, unused nodes, and accumulators that
    could overflow their declared width. Raises :class:`GraphError` with one line that names the
    node and the values.
    """
    check_graph(graph)


def check_graph(graph: Graph) -> tuple[dict[str, TensorType], dict[str, NodeBounds]]:
    """Like :func:`validate`; returns the types and the proved bounds."""
    types = tensor_types(graph)
    _check_outputs(graph, types)
    _check_used(graph)
    bounds = graph_bounds(graph, types)
    for node in graph.nodes:
        bound = bounds[node.name]
        if bound.partial is not None:
            needed = required_bits(*bound.partial)
            if needed > node.acc_bits:
                raise GraphError(
                    f"{label(node)}: accumulators can reach "
                    f"{bound.partial[0]}..{bound.partial[1]}, "
                    f"which takes {needed} bits; acc_bits is {node.acc_bits}"
                )
        if bound.wide is not None and required_bits(*bound.wide) > 64:
            raise GraphError(
                f"{label(node)}: acc * multiplier + bias + half can reach {bound.wide[0]}.."
                f"{bound.wide[1]}, which takes {required_bits(*bound.wide)} bits; at "
                "most 64 are allowed"
            )
    return types, bounds


def _check_outputs(graph: Graph, types: dict[str, TensorType]) -> None:
    if not isinstance(graph.outputs, tuple) or not graph.outputs:
        raise GraphError(f"Graph outputs must be a tuple of at least 1 name, not {graph.outputs!r}")
    for number, name in enumerate(graph.outputs):
        if not isinstance(name, str) or name not in types:
            raise GraphError(f"Graph output {name!r} is not a node of the graph")
        if name in graph.outputs[:number]:
            raise GraphError(f"Graph output {name!r} is named twice")
        if types[name].is_accumulator:
            raise GraphError(
                f"Graph output {name!r} holds accumulators; a Requantize must come after it"
            )
    _check_final(graph)


def _check_final(graph: Graph) -> None:
    if graph.final == ():
        return
    if not isinstance(graph.final, tuple) or len(graph.final) != len(graph.outputs):
        raise GraphError(f"Graph final must hold one name for each output, not {graph.final!r}")
    for name in graph.final:
        if name not in FINAL:
            raise GraphError(f"Graph final must be of {', '.join(FINAL)}, not {name!r}")
    if set(graph.final) == {"none"}:
        raise GraphError("Graph final must be empty where nothing is applied")


def _check_used(graph: Graph) -> None:
    used = {source for node in graph.nodes for source in node.inputs} | set(graph.outputs)
    for node in graph.nodes:
        if node.name not in used:
            raise GraphError(f"{label(node)}: nothing reads it and it is not an output")
