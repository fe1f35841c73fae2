"""Layers that move codes to other channels: sums of one term, on the array."""

import numpy as np

from hw.compiler.constants import identity_params
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.compiler.lower.runs import joined
from hw.contract.isa import Unit
from nbqnn_train.graph import Channels, DepthToSpace, Flatten, Node, SpaceToDepth, Unflatten

__all__ = ["channels", "depth_to_space", "flatten", "space_to_depth", "unflatten"]


def channels(context: Context, node: Channels) -> Layer:
    """Chosen channels, in any order."""
    return joined(_gathered(context, node, node.index, 0))


def depth_to_space(context: Context, node: DepthToSpace) -> Layer:
    """Every position of a block takes its own channels."""
    block = int(node.block)
    count, height, width = context.shapes[node.name]
    size = (height // block, width // block)
    return joined(
        part
        for row in range(block)
        for column in range(block)
        for part in _gathered(
            context,
            node,
            (np.arange(count) * block + row) * block + column,
            row * block + column,
            size=size,
            out_first=(row, column),
            out_step=(block, block),
        )
    )


def space_to_depth(context: Context, node: SpaceToDepth) -> Layer:
    """Every channel takes its own position of a block."""
    block = int(node.block)
    index, places = np.divmod(np.arange(context.shapes[node.name][0]), block**2)
    return joined(
        _gathered(context, node, index, 0, places=places, block=block, stride=(block, block))
    )


def unflatten(context: Context, node: Unflatten) -> Layer:
    """Features of a vector as positions."""
    count, height, width = context.shapes[node.name]
    return joined(
        part
        for row in range(height)
        for column in range(width)
        for part in _gathered(
            context,
            node,
            (np.arange(count) * height + row) * width + column,
            row * width + column,
            size=(1, 1),
            out_first=(row, column),
        )
    )


def flatten(context: Context, node: Flatten) -> Layer:
    """Positions of a map as features of a vector.

    The window of a part is the smallest one that has all of its features. Many parts have the same
    weights.
    """
    lanes, filters = context.config.lanes, context.config.filters
    shape = context.shapes[context.memory_of(node.input)]
    features = np.arange(context.shapes[node.name][0])
    parts = []
    #: Where the terms of a part are in its window -> the number of its weights, and these.
    known: dict[bytes, tuple[int, np.ndarray]] = {}
    for begin in range(0, len(features), filters):
        channel, row, column = np.unravel_index(features[begin : begin + filters], shape)
        group, top, left = int(channel.min()) // lanes, int(row.min()), int(column.min())
        terms = np.stack([channel - group * lanes, row - top, column - left])
        if terms.tobytes() not in known:
            last = terms.max(1)
            depth = (int(last[0]) // lanes + 1) * lanes
            weight = np.zeros((terms.shape[1], depth, last[1] + 1, last[2] + 1), np.int64)
            weight[np.arange(terms.shape[1]), *terms] = 1
            known[terms.tobytes()] = len(known), weight
        number, weight = known[terms.tobytes()]
        parts.append(
            _one_term(
                context,
                node,
                weight,
                padding=(-top, -left, 0, 0),
                out_shape=(len(weight), 1, 1),
                out_channel=begin,
                in_group=group,
                number=number,
            )
        )
    return joined(parts)


def _gathered(
    context: Context,
    node: Node,
    index: np.ndarray,
    number: int,
    *,
    size: tuple[int, int] | None = None,
    places: np.ndarray | None = None,
    block: int = 1,
    **fields: object,
) -> list[Layer]:
    """Parts whose channel c is the source's channel ``index[c]``: one for each filter group.

    number : of these parts among those of the layer.
    size : rows and columns; those of the result if it is None.
    places : (C,), the position of each channel in a block that is the window.
    """
    config = context.config
    _, *whole = context.shapes[node.name]
    places = np.zeros(len(index), np.int64) if places is None else places
    parts = []
    for begin in range(0, len(index), config.filters):
        wanted = index[begin : begin + config.filters]
        # Only the channel groups that have some of them are read.
        first = int(wanted.min()) // config.lanes
        depth = (int(wanted.max()) // config.lanes - first + 1) * config.lanes
        weight = np.zeros((len(wanted), depth, block, block), np.int64)
        down, across = np.divmod(places[begin : begin + config.filters], block)
        weight[np.arange(len(wanted)), wanted - first * config.lanes, down, across] = 1
        parts.append(
            _one_term(
                context,
                node,
                weight,
                out_shape=(len(wanted), *(size or whole)),
                out_channel=begin,
                in_group=first,
                number=number * -(-len(index) // config.filters) + begin // config.filters,
                **fields,
            )
        )
    return parts


def _one_term(context: Context, node: Node, weight: np.ndarray, **fields: object) -> Layer:
    """A part whose weights are zero and one."""
    config = context.config
    lowest = -(1 << (config.act_bits - 1))
    return Layer(
        name=node.name,
        sources=(context.memory_of(node.input),),
        target=node.name,
        unit=Unit.ARRAY,
        weight=weight,
        kernel=weight.shape[2:],
        params=identity_params(config, config.post_lanes),
        shared_params=True,
        low=lowest,
        high=-lowest - 1,
        pad=0,
        **fields,
    )
