"""Shapes and number formats of every tensor of a graph."""

from math import prod

from . import limits
from .checks import check_activation, feature_map, label
from .errors import GraphError
from .fields import check_fields
from .geometry import window_output
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

__all__ = ["node_type", "tensor_types"]


def tensor_types(graph: Graph) -> dict[str, TensorType]:
    """Type of the tensor that each node produces, by name, in the graph's order.

    Raises :class:`GraphError` if a node's own fields are not allowed, if a name is missing or
    double, if an input is defined later (a cycle) or not at all, or if types do not fit together.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"Graph must be a Graph, not {graph!r}")
    if not isinstance(graph.nodes, tuple) or not 0 < len(graph.nodes) <= limits.MAX_NODES:
        raise GraphError(f"Graph must hold a tuple of 1..{limits.MAX_NODES} nodes")
    types: dict[str, TensorType] = {}
    for node in graph.nodes:
        check_fields(node)
        if node.name in types:
            raise GraphError(f"{label(node)}: the name is taken by an earlier node")
        for source in node.inputs:
            if source not in types:
                _explain_missing(graph, node, source)
        types[node.name] = node_type(node, *(types[source] for source in node.inputs))
    return types


def node_type(node: Node, *sources: TensorType) -> TensorType:
    """Type of the tensor that ``node`` makes of ``sources``. Checks the node's fields.

    For those who build a graph node by node.
    """
    check_fields(node)
    rule = _RULES.get(type(node)) or OPERATORS[type(node)].infer
    inferred = rule(node, *sources)
    if prod(inferred.shape) > limits.MAX_ELEMENTS:
        raise GraphError(
            f"{label(node)}: a tensor must hold at most {limits.MAX_ELEMENTS} elements, "
            f"not shape {inferred.shape}"
        )
    return inferred


def _explain_missing(graph: Graph, node: Node, source: str) -> None:
    if any(other.name == source for other in graph.nodes):
        raise GraphError(
            f"{label(node)}: input {source!r} comes later in the graph (a cycle, or not in "
            "topological order)"
        )
    raise GraphError(f"{label(node)}: input {source!r} is not a node of the graph")


def _windows(node: Conv2d | MaxPool2d | AvgPool2d, source: TensorType) -> tuple[int, int]:
    """Height and width of the map that a window makes of ``source``."""
    _, height, width = feature_map(node, source)
    top, left, bottom, right = node.padding
    if isinstance(node, Conv2d):
        kernel, dilation = node.weight.shape[2:], node.dilation
    else:
        kernel, dilation = node.kernel, (1, 1)
    size = (
        window_output(height, kernel[0], node.stride[0], (top, bottom), dilation[0]),
        window_output(width, kernel[1], node.stride[1], (left, right), dilation[1]),
    )
    if min(size) < 1:
        raise GraphError(
            f"{label(node)}: kernel {tuple(kernel)} with dilation {tuple(dilation)} "
            "must fit into the "
            f"padded input of {height + top + bottom} x {width + left + right}"
        )
    if max(size) > limits.MAX_DIMENSION:
        raise GraphError(
            f"{label(node)}: output must be at most {limits.MAX_DIMENSION} high and "
            f"wide, not {size}"
        )
    return size


def _accumulator(
    node: Conv2d | Linear | AvgPool2d | Add, shape: tuple[int, ...], exponent: tuple[int, ...]
) -> TensorType:
    return TensorType(shape=shape, bits=int(node.acc_bits), signed=True, exponent=exponent)


def _infer_input(node: Input) -> TensorType:
    return TensorType(
        shape=tuple(int(size) for size in node.shape),
        bits=int(node.bits),
        signed=node.signed,
        exponent=int(node.exponent),
    )


def _infer_conv(node: Conv2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels = feature_map(node, source)[0]
    expected = node.weight.shape[1] * node.groups
    if channels != expected:
        raise GraphError(
            f"{label(node)}: weight {node.weight.shape} with groups {node.groups} takes {expected} "
            f"input channels, but {node.input!r} has {channels}"
        )
    exponent = tuple(source.exponent + int(e) for e in node.weight_exponent)
    return _accumulator(node, (node.weight.shape[0], *_windows(node, source)), exponent)


def _infer_linear(node: Linear, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    if source.shape != (node.weight.shape[1],):
        raise GraphError(
            f"{label(node)}: weight {node.weight.shape} takes {node.weight.shape[1]} features, "
            f"but {node.input!r} has shape {source.shape}"
        )
    exponent = tuple(source.exponent + int(e) for e in node.weight_exponent)
    return _accumulator(node, (node.weight.shape[0],), exponent)


def _infer_max_pool(node: MaxPool2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    size = _windows(node, source)
    return TensorType(
        shape=(source.shape[0], *size),
        bits=source.bits,
        signed=source.signed,
        exponent=source.exponent,
    )


def _infer_avg_pool(node: AvgPool2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    size = _windows(node, source)
    channels = source.shape[0]
    exponent = (source.exponent - int(node.shift),) * channels
    return _accumulator(node, (channels, *size), exponent)


def _infer_add(node: Add, a: TensorType, b: TensorType) -> TensorType:
    check_activation(node, a, node.operands[0])
    check_activation(node, b, node.operands[1])
    if a.shape != b.shape:
        raise GraphError(
            f"{label(node)}: operands must have equal shapes, not {a.shape} and {b.shape}"
        )
    steps = tuple(t.exponent - int(s) for t, s in zip((a, b), node.shifts, strict=True))
    if steps[0] != steps[1]:
        raise GraphError(
            f"{label(node)}: exponents {a.exponent} and {b.exponent} with shifts "
            f"{tuple(node.shifts)} "
            f"must meet on one step, not on {steps[0]} and {steps[1]}"
        )
    return _accumulator(node, a.shape, (steps[0],) * a.shape[0])


def _infer_concat(node: Concat, *sources: TensorType) -> TensorType:
    for name, source in zip(node.operands, sources, strict=True):
        check_activation(node, source, name)
    first = sources[0]
    for name, source in zip(node.operands, sources, strict=True):
        for what, a, b in (
            ("bits", first.bits, source.bits),
            ("signed", first.signed, source.signed),
            ("exponent", first.exponent, source.exponent),
            ("dimensions", len(first.shape), len(source.shape)),
            ("height and width", first.shape[1:], source.shape[1:]),
        ):
            if a != b:
                raise GraphError(
                    f"{label(node)}: {what} of {node.operands[0]!r} and {name!r} must be equal, "
                    f"not {a} and {b}"
                )
    channels = sum(source.shape[0] for source in sources)
    largest = limits.MAX_FEATURES if len(first.shape) == 1 else limits.MAX_DIMENSION
    if channels > largest:
        raise GraphError(
            f"{label(node)}: output must have at most {largest} channels, not {channels}"
        )
    return TensorType(
        shape=(channels, *first.shape[1:]),
        bits=first.bits,
        signed=first.signed,
        exponent=first.exponent,
    )


def _infer_flatten(node: Flatten, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    features = prod(feature_map(node, source))
    if features > limits.MAX_FEATURES:
        raise GraphError(
            f"{label(node)}: output must have at most {limits.MAX_FEATURES} "
            f"features, not {features}"
        )
    return TensorType(
        shape=(features,), bits=source.bits, signed=source.signed, exponent=source.exponent
    )


def _infer_clip(node: Clip, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    if node.low < source.low or node.high > source.high:
        raise GraphError(
            f"{label(node)}: low and high must lie in {source.low}..{source.high}, the range of "
            f"{node.input!r}, not {node.low} and {node.high}"
        )
    return source


def _infer_requantize(node: Requantize, source: TensorType) -> TensorType:
    if node.multiplier.shape[0] != source.shape[0]:
        raise GraphError(
            f"{label(node)}: has {node.multiplier.shape[0]} channels, but {node.input!r} has "
            f"{source.shape[0]}"
        )
    return TensorType(
        shape=source.shape, bits=int(node.bits), signed=node.signed, exponent=int(node.exponent)
    )


_RULES = {
    Input: _infer_input,
    Conv2d: _infer_conv,
    Linear: _infer_linear,
    MaxPool2d: _infer_max_pool,
    AvgPool2d: _infer_avg_pool,
    Add: _infer_add,
    Concat: _infer_concat,
    Flatten: _infer_flatten,
    Clip: _infer_clip,
    Requantize: _infer_requantize,
}
