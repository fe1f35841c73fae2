"""Layers of the array: convolutions, linear layers, and concatenations that have to copy."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from hw.compiler.blocks import BlockChoice, choose_blocks
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.compiler.lower.runs import joined
from hw.compiler.lower.sums import summing_layer
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.words import stored_offset
from nbqnn_train.graph import Concat, Conv2d, ConvTranspose2d, Input, Linear, Requantize

__all__ = ["concatenation", "dense_weight", "dot_products", "geometry"]

#: Groups of channels that a concatenation reads for all filters rather than have more parts.
_FEW_GROUPS = 4


def dot_products(context: Context, node: Conv2d | Linear, requantize: Requantize) -> Layer:
    """A convolution or linear layer: sums over all input channels."""
    context.check_weight_bits(node)
    source = context.memory_of(node.input)
    if isinstance(node, Linear):
        # The kernel covers the whole map, so flattening costs nothing.
        weight, window = node.weight.reshape(len(node.weight), *context.shapes[source]), {}
    else:
        weight, window = dense_weight(node), geometry(node)
        choice = None
        if _may_block(context, node):
            choice = choose_blocks(
                context.config,
                in_shape=context.shapes[source],
                out_shape=context.shapes[requantize.name],
                kernel=node.weight.shape[2:],
                stride=node.stride,
                padding=node.padding,
            )
        if choice is not None:
            context.blocks = choice.blocks
            context.shapes[source] = choice.blocks.shape
            return joined(
                part
                for phase in range(choice.phases)
                for part in _dot_products(
                    context,
                    node,
                    requantize,
                    source,
                    choice.blocks.block_weight(_in_phase(node, choice, phase)),
                    choice.blocks.geometry(choice.stride),
                    (phase, choice.phases),
                )
            )
    return joined(_dot_products(context, node, requantize, source, weight, window))


def _in_phase(node: Conv2d, choice: BlockChoice, phase: int) -> np.ndarray:
    """The weights in a window of several outputs, for one of these."""
    first = phase * node.stride[1]
    weight = np.zeros((*node.weight.shape[:2], *choice.kernel), np.int64)
    weight[..., first : first + node.weight.shape[3]] = node.weight
    return weight


def _dot_products(
    context: Context,
    node: Conv2d | Linear,
    requantize: Requantize,
    source: str,
    weight: np.ndarray,
    window: dict,
    phase: tuple[int, int] = (0, 1),
) -> Iterator[Layer]:
    """The parts that compute every n-th column, for ``phase`` = (first column, n)."""
    first, phases = phase
    _, height, width = context.shapes[requantize.name]
    columns = len(range(first, width, phases))
    if phases > 1:
        window = window | {"out_first": (0, first), "out_step": (1, phases)}
    sections = _sections(context.config, weight)
    return (
        summing_layer(
            context,
            node,
            _channels_of(requantize, filters),
            (source,),
            Unit.ARRAY,
            weight[
                filters, groups.start * context.config.lanes : groups.stop * context.config.lanes
            ],
            macs=node.weight[filters].size * height * columns,
            out_shape=(filters.stop - filters.start, height, columns),
            out_channel=filters.start,
            in_group=groups.start,
            number=first * len(sections) + number,
            **window,
        )
        for number, (filters, groups) in enumerate(sections)
    )


def _sections(config: AcceleratorConfig, weight: np.ndarray) -> list[tuple[slice, slice]]:
    """Filters, and the channel groups that they need not skip: all others have zeros.

    So groups of channels cost the steps of their own channels, not those of all.
    """
    outputs, inputs = weight.shape[:2]
    used = weight.reshape(outputs, inputs, -1).any(axis=2)
    return _of_filters(
        config, outputs, lambda begin, end: np.flatnonzero(used[begin:end].any(axis=0))
    )


def _of_filters(
    config: AcceleratorConfig, outputs: int, channels_of: Callable[[int, int], np.ndarray]
) -> list[tuple[slice, slice]]:
    """Filters, and the channel groups that they read.

    channels_of : of the filters from one to before another, the channels that they read.
    """
    sections: list[tuple[slice, slice]] = []
    for begin in range(0, outputs, config.filters):
        end = min(begin + config.filters, outputs)
        channels = channels_of(begin, end)
        first, last = (channels.min(), channels.max()) if len(channels) else (0, 0)
        groups = slice(int(first) // config.lanes, int(last) // config.lanes + 1)
        if sections and sections[-1][1] == groups:
            begin = sections.pop()[0].start
        sections.append((slice(begin, end), groups))
    return sections


def _channels_of(requantize: Requantize, channels: slice) -> Requantize:
    fields = ("multiplier", "bias", "shift")
    return replace(requantize, **{name: getattr(requantize, name)[channels] for name in fields})


def concatenation(context: Context, node: Concat) -> None:
    """Adds the layers of a concatenation that copies, and their intermediate results.

    Each layer joins two operands. Weights of zero and one move the channels to where they belong.
    """
    so_far = node.operands[0]
    for position, operand in enumerate(node.operands[1:], start=2):
        last = position == len(node.operands)
        target = node.name if last else f"{node.name}.{position}"
        sources = (context.memory_of(so_far), context.memory_of(operand))
        first, second = (context.shapes[source][0] for source in sources)
        shape = (first + second, *context.shapes[sources[0]][1:])
        type_ = replace(context.types[node.name], shape=shape)
        context.types[target], context.shapes[target] = type_, shape
        context.offsets[target] = stored_offset(context.config, type_)
        pair = replace(node, name=target, operands=(so_far, operand))
        context.layers.append(_joining(context, pair, sources, first))
        so_far = target


def _joining(context: Context, node: Concat, sources: tuple[str, str], first: int) -> Layer:
    """The layer that joins two operands, of which the first has ``first`` channels."""
    config, type_ = context.config, context.types[node.name]
    own = np.arange(type_.shape[0])
    operand = (own >= first).astype(int)
    channel = own - first * operand
    parts = []
    every = slice(0, -(-int(channel.max() + 1) // config.lanes))
    sections = [(slice(0, len(own)), every)]
    if every.stop > _FEW_GROUPS:
        sections = _of_filters(config, len(own), lambda begin, end: channel[begin:end])
    for number, (filters, groups) in enumerate(sections):
        count, depth = filters.stop - filters.start, (groups.stop - groups.start) * config.lanes
        weight = np.zeros((count, depth, 2, 1), np.int64)
        terms = channel[filters] - groups.start * config.lanes, operand[filters]
        weight[np.arange(count), *terms] = 1
        ones = np.ones(count, np.int64)
        unchanged = Requantize(
            name=node.name,
            input=node.name,
            multiplier=ones,
            bias=0 * ones,
            shift=0 * ones,
            bits=type_.bits,
            signed=type_.signed,
            exponent=type_.exponent,
            low=type_.low,
            high=type_.high,
        )
        parts.append(
            summing_layer(
                context,
                node,
                unchanged,
                sources,
                Unit.ARRAY,
                weight,
                out_shape=(count, *context.shapes[node.name][1:]),
                out_channel=filters.start,
                in_group=groups.start,
                number=number,
            )
        )
    return joined(parts)


def geometry(node: Conv2d) -> dict:
    """The fields of a layer that say how a convolution's window moves."""
    return {"stride": node.stride, "padding": node.padding, "dilation": node.dilation}


def _may_block(context: Context, node: Conv2d) -> bool:
    """Whether the host may lay out the image in blocks: this convolution alone reads it."""
    return (
        isinstance(context.graph[node.input], Input)
        and len(context.graph.input_nodes) == 1
        and context.users[node.input] == 1
        and node.input not in context.graph.outputs
        and node.groups == 1
        and node.dilation == (1, 1)
    )


def dense_weight(node: Conv2d | ConvTranspose2d) -> np.ndarray:
    """The weights as (Cout, Cin, KH, KW), with zeros for the channels of other groups."""
    if node.groups == 1:
        return node.weight
    outputs, inputs, kernel_h, kernel_w = node.weight.shape
    dense = np.zeros((outputs, inputs * node.groups, kernel_h, kernel_w), np.int64)
    per_group = outputs // node.groups
    for group in range(node.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        columns = slice(group * inputs, (group + 1) * inputs)
        dense[rows, columns] = node.weight[rows]
    return dense
