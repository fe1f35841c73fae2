"""Decides which layer each node of a graph becomes, and refuses what has none."""

from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer, Lowered
from hw.compiler.lower.channelwise import addition, average, depthwise
from hw.compiler.lower.context import Context
from hw.compiler.lower.dot import concatenation, dot_products
from hw.compiler.lower.maximum import maximum
from hw.compiler.views import concat_views
from hw.contract.config import AcceleratorConfig
from hw.contract.words import stored_offset
from nbqnn_train.graph import (
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
)
from nbqnn_train.graph.operators import OPERATORS

__all__ = ["lower"]

_SUMMING = (Conv2d, Linear, AvgPool2d, Add)


def lower(graph: Graph, config: AcceleratorConfig, copied: frozenset[str] = frozenset()) -> Lowered:
    """The layers that compute ``graph``. Concatenations in ``copied`` are not done in place.

    Raises :class:`CompileError`. It names every node that the accelerator does not support, or else
    the first one whose numbers do not fit.
    """
    context = Context(graph, config)
    _check_support(context)
    stored = {name: type_ for name, type_ in context.types.items() if not type_.is_accumulator}
    context.views = concat_views(
        graph,
        config,
        {name: type_.shape[0] for name, type_ in stored.items()},
        {name: stored_offset(config, type_) for name, type_ in stored.items()},
        copied,
    )
    reasons: list[str] = []
    for node in graph.nodes:
        try:
            _lower_node(context, node)
        except CompileError as error:
            reasons += error.reasons
    if reasons:
        raise CompileError(*reasons)
    return Lowered(
        tuple(context.layers),
        context.shapes,
        context.offsets,
        context.aliases,
        context.views,
        context.blocks,
    )


def _lower_node(context: Context, node: Node) -> None:
    match node:
        case Flatten():
            context.aliases[node.name] = context.memory_of(node.input)
        case Input():
            context.add_tensor(node.name)
        case Concat():
            context.add_tensor(node.name)
            if not _written_in_place(context, node):
                concatenation(context, node)
        case Requantize() | Clip() | MaxPool2d():
            context.add_tensor(node.name)
            context.layers.append(_layer(context, node))


def _written_in_place(context: Context, node: Concat) -> bool:
    """Whether the operands are views of the result, so that nothing is copied."""
    view = context.views.get(node.name)
    return view is not None and context.views.get(node.operands[0]) == view


def _check_support(context: Context) -> None:
    """Refuses nodes that the accelerator does not support; names all of them."""
    refused = []
    for node in context.graph.nodes:
        kind = type(node).__name__
        if type(node) in OPERATORS:
            refused.append(f"{node.name} ({kind})")
        if isinstance(node, _SUMMING) and context.users[node.name] != 1:
            refused.append(f"{node.name} ({kind} with {context.users[node.name]} readers)")
    if len(context.graph.input_nodes) != 1:
        refused.append(f"{len(context.graph.input_nodes)} inputs (one is supported)")
    if refused:
        raise CompileError(f"the accelerator does not support: {', '.join(refused)}")
    wide = [
        f"tensor {name}: {type_.bits} bits must be at most act_bits = {context.config.act_bits} of "
        "the configuration"
        for name, type_ in context.types.items()
        if not type_.is_accumulator and type_.bits > context.config.act_bits
    ]
    if wide:
        raise CompileError(*wide)


def _layer(context: Context, node: Requantize | Clip | MaxPool2d) -> Layer:
    producer = context.graph[node.input]
    if not (isinstance(node, Requantize) and isinstance(producer, _SUMMING)):
        return maximum(context, node)
    match producer:
        case AvgPool2d():
            return average(context, producer, node)
        case Add():
            return addition(context, producer, node)
        case Conv2d(groups=groups) if groups > 1 and producer.weight.shape[:2] == (groups, 1):
            return depthwise(context, producer, node)
        case _:
            return dot_products(context, producer, node)
