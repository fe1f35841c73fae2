"""Decides which layer each node of a graph becomes, and refuses what has none."""

from collections.abc import Callable

import numpy as np

from hw.compiler.errors import AddendError, CompileError
from hw.compiler.layer import Layer, Lowered
from hw.compiler.lower.channelwise import addition, average, depthwise, scaling
from hw.compiler.lower.context import Context, as_map
from hw.compiler.lower.dot import concatenation, dot_products
from hw.compiler.lower.far import near_and_far
from hw.compiler.lower.gather import channels, depth_to_space, flatten, space_to_depth, unflatten
from hw.compiler.lower.largest import arg_max
from hw.compiler.lower.maximum import maximum, pooling
from hw.compiler.lower.moves import flip, pad, region_maximum, slice_, upsample
from hw.compiler.lower.phases import bilinear, interpolation, region_average, transposed
from hw.compiler.lower.products import product
from hw.compiler.lower.table import look_up
from hw.compiler.simplified import is_slice
from hw.compiler.views import View, concat_views
from hw.contract.config import AcceleratorConfig
from hw.contract.words import stored_offset
from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Bilinear2d,
    Channels,
    Clip,
    Concat,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    Flip2d,
    Graph,
    Input,
    Interpolate2d,
    Linear,
    MaxPool2d,
    Node,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Requantize,
    Slice2d,
    SpaceToDepth,
    Unflatten,
    Upsample2d,
)
from nbqnn_train.graph.operators import OPERATORS, ArgMax, Constant, Multiply, Sum, Table

__all__ = ["lower", "support"]


def _convolution(context: Context, node: Conv2d, requantize: Requantize) -> Layer:
    """On the array, or channel by channel where every output channel has one of the input."""
    if node.groups > 1 and node.weight.shape[:2] == (node.groups, 1):
        return depthwise(context, node, requantize)
    return dot_products(context, node, requantize)


def _multiplication(context: Context, node: Multiply, requantize: Requantize) -> Layer:
    """By weights where a factor is the same at all positions."""
    if any(context.constant(name) is not None for name in node.operands):
        return scaling(context, node, requantize)
    return product(context, node, requantize)


#: Layers of sums, of which each needs a Requantize.
_SUMMING: dict[type[Node], Callable[[Context, Node, Requantize], Layer]] = {
    Conv2d: _convolution,
    Linear: dot_products,
    AvgPool2d: average,
    Add: addition,
    Sum: addition,
    Multiply: _multiplication,
    ConvTranspose2d: transposed,
    Bilinear2d: bilinear,
    Interpolate2d: interpolation,
    RegionAverage2d: region_average,
}
#: Layers that give activations as they come out.
_DIRECT: dict[type[Node], Callable[[Context, Node], Layer]] = {
    Requantize: maximum,
    Clip: maximum,
    MaxPool2d: pooling,
    Channels: channels,
    Unflatten: unflatten,
    DepthToSpace: depth_to_space,
    SpaceToDepth: space_to_depth,
    Flip2d: flip,
    Slice2d: slice_,
    Pad2d: pad,
    Upsample2d: upsample,
    RegionMax2d: region_maximum,
    ArgMax: arg_max,
}
#: What becomes a part of layers.
_PARTS = (Constant, Table)
#: Kinds of nodes that not every configuration has -> its field.
_NEEDS = {Multiply: "products", Table: "tables"}
#: Kinds of nodes that may read a constant.
_WITH_CONSTANTS = (Add, Multiply, Sum)


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
            _lower_node(context, node, copied)
        except CompileError as error:
            reasons += error.reasons
    if reasons:
        raise CompileError(*reasons)
    return Lowered(
        tuple(context.layers),
        context.shapes,
        context.offsets,
        context.aliases,
        context.constants,
        context.views,
        context.blocks,
    )


def support(kind: type[Node]) -> str:
    """Whether nodes of that kind are compiled: ``yes``, ``refused`` or the field that it takes."""
    if kind in OPERATORS and kind not in (*_SUMMING, *_DIRECT, *_PARTS):
        return "refused"
    return f"with {_NEEDS[kind]}" if kind in _NEEDS else "yes"


def _lower_node(context: Context, node: Node, copied: frozenset[str]) -> None:
    if not (isinstance(node, Linear | Flatten) or _is_undone(context, node)):
        for name in node.inputs:
            _store_flattened(context, name)
    match node:
        case Flatten():
            context.aliases[node.name] = context.memory_of(node.input)
        case Input():
            context.add_tensor(node.name)
        case Constant() if context.is_stored(node):
            context.add_tensor(node.name)
            context.constants[node.name] = node.codes.astype(np.int64)
        case Concat():
            context.add_tensor(node.name)
            if not _written_in_place(context, node):
                concatenation(context, node)
        case Channels() if _taken_in_place(context, node, copied):
            context.add_tensor(node.name)
        case Unflatten() if _is_undone(context, node):
            context.aliases[node.name] = context.memory_of(node.input)
        case _ if type(node) in _DIRECT:
            context.add_tensor(node.name)
            context.layers.append(_layer(context, node))
        case Table():
            look_up(context, node)


def _is_undone(context: Context, node: Node) -> bool:
    """Whether a flattened map becomes the map again that is stored."""
    if not isinstance(node, Unflatten):
        return False
    return context.shapes[context.memory_of(node.input)] == node.shape


def _store_flattened(context: Context, name: str) -> None:
    """Adds the layer that makes a flattened map a vector, unless it is one."""
    source = context.memory_of(name)
    if source != name and context.shapes[source] != as_map(context.types[name].shape):
        del context.aliases[name]
        context.add_tensor(name)
        context.layers.append(flatten(context, context.graph[name]))


def _written_in_place(context: Context, node: Concat) -> bool:
    """Whether the operands are views of the result, so that nothing is copied."""
    view = context.views.get(node.name)
    return view is not None and context.views.get(node.operands[0]) == view


def _taken_in_place(context: Context, node: Channels, copied: frozenset[str]) -> bool:
    """Makes channels that follow each other from a whole word on a view of their source.

    Outputs are stored as a layer writes them, so they are none.
    """
    name = context.memory_of(node.input)
    if node.name in (*copied, *context.graph.outputs):
        return False
    whole = context.views.get(name, View(name, 0))
    view = View(whole.root, whole.channel + int(node.index[0]))
    if not is_slice(context.config, node) or view.channel % context.config.lanes:
        return False
    context.views[node.name] = view
    return True


def _check_support(context: Context) -> None:
    """Refuses nodes that the accelerator does not support; names all of them."""
    refused = []
    for node in context.graph.nodes:
        kind = type(node).__name__
        if type(node) in OPERATORS and type(node) not in (*_SUMMING, *_DIRECT, *_PARTS):
            refused.append(f"{node.name} ({kind})")
        constants = [name for name in node.inputs if context.constant(name) is not None]
        if constants and (not isinstance(node, _WITH_CONSTANTS) or constants == [*node.inputs]):
            refused.append(f"{node.name} ({kind} of constant {constants[0]})")
        if context.constant(node.name) is not None and node.name in context.graph.outputs:
            refused.append(f"{node.name} (constant as an output)")
        # A constant factor becomes weights.
        needed = None if constants else _NEEDS.get(type(node))
        if needed and not getattr(context.config, needed):
            refused.append(f"{node.name} ({kind}, which needs {needed} in the configuration)")
        if type(node) in _SUMMING and context.users[node.name] != 1:
            refused.append(f"{node.name} ({kind} with {context.users[node.name]} readers)")
    if refused:
        raise CompileError(f"the accelerator does not support: {', '.join(refused)}")
    wide = [
        f"tensor {name}: {type_.bits} bits must be at most act_bits = {context.config.act_bits} of "
        f"the configuration{_reason(context, name)}"
        for name, type_ in context.types.items()
        if not (type_.is_accumulator or context.constant(name) is not None)
        and type_.bits > context.config.act_bits
    ]
    if wide:
        raise CompileError(*wide)


def _reason(context: Context, name: str) -> str:
    node = context.graph[name]
    if not isinstance(node, ArgMax):
        bits = context.types[name].bits
        return f"; remedy: a configuration with act_bits = {bits}, or fewer bits when quantizing"
    count = context.types[node.input].shape[0]
    return f"; ArgMax of {count} channels needs so many; remedy: leave the arg-max to the host"


def _layer(context: Context, node: Node) -> Layer:
    """The layer whose result is ``node``."""
    if isinstance(node, Requantize):
        producer = context.graph[node.input]
        if type(producer) in _SUMMING:
            layer_of, before = _SUMMING[type(producer)], len(context.layers)
            try:
                return layer_of(context, producer, node)
            except AddendError:
                del context.layers[before:]
                near, far = near_and_far(context, node)
                context.layers.append(layer_of(context, producer, near))
                return maximum(context, far)
    return _DIRECT[type(node)](context, node)
