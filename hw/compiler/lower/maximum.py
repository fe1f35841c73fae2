"""Layers of the maximum unit: pooling, and with a window of one position requantize and clip."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.compiler.constants import identity_params, requantize_params
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.contract.isa import MAX_KERNEL, Unit
from nbqnn_train.graph import Clip, MaxPool2d, Requantize
from nbqnn_train.graph.operators import Table

__all__ = ["maximum", "pooling"]

#: Of a map of more positions the largest code is found in stages. One window would need all rows on
#: the chip at once, and takes one position after the other.
_LARGE = 256


def pooling(context: Context, node: MaxPool2d) -> Layer:
    """The layer of a maximum; of a large window that of the last stage, behind the others."""
    _, *sizes = context.shapes[context.memory_of(node.input)]
    whole = list(node.kernel) == sizes and not any(node.padding) and math.prod(sizes) > _LARGE
    if not whole and max(node.kernel) <= MAX_KERNEL:
        return maximum(context, node)
    down, across = (
        _Windows(node.kernel[axis], node.stride[axis], node.padding[axis], node.padding[axis + 2])
        for axis in range(2)
    )
    stages = [windows.of_the_whole() if whole else windows.in_two() for windows in (down, across)]
    (first_down, then_down), (first_across, then_across) = stages
    name = context.new_name(f"{node.name}.windows")
    first = _with(node, first_down, first_across, name=name)
    shape = first_down.count(sizes[0]), first_across.count(sizes[1])
    context.types[name] = replace(
        context.types[node.input], shape=(context.types[node.input].shape[0], *shape)
    )
    context.add_tensor(name)
    context.layers.append(pooling(context, first))
    return pooling(context, _with(node, then_down, then_across, input=name))


class _Windows(NamedTuple):
    """Windows along an axis."""

    kernel: int
    stride: int
    before: int
    after: int

    def count(self, size: int) -> int:
        """How many there are on so many positions."""
        return (size + self.before + self.after - self.kernel) // self.stride + 1

    def of_the_whole(self) -> tuple["_Windows", "_Windows"]:
        """Windows beside each other, and one of these, for one that has all positions."""
        size = math.isqrt(self.kernel - 1) + 1
        count = -(-self.kernel // size)
        return _Windows(size, size, 0, count * size - self.kernel), _Windows(count, 1, 0, 0)

    def in_two(self) -> tuple["_Windows", "_Windows"]:
        """Smaller windows at every position, and windows of these; if these are too large."""
        if self.kernel <= MAX_KERNEL:
            return _Windows(1, 1, 0, 0), self
        size = min(MAX_KERNEL, self.kernel // 2 + 1)
        first = _Windows(size, 1, self.before, self.after)
        return first, _Windows(self.kernel - size + 1, self.stride, 0, 0)


def _with(node: MaxPool2d, down: _Windows, across: _Windows, **fields: object) -> MaxPool2d:
    return replace(
        node,
        kernel=(down.kernel, across.kernel),
        stride=(down.stride, across.stride),
        padding=(down.before, across.before, down.after, across.after),
        **fields,
    )


def maximum(context: Context, node: Requantize | Clip | MaxPool2d | Table) -> Layer:
    """The layer of a node that reads activations and sums nothing; a table's comes without it."""
    config = context.config
    source = context.memory_of(node.input)
    type_ = context.types[node.input]
    offset, out_offset = context.offsets[source], context.offsets[node.name]
    channels = context.shapes[source][0]
    lowest = -(1 << (config.act_bits - 1))
    fields = {"low": lowest, "high": -lowest - 1}
    if isinstance(node, Requantize | Clip):
        fields = {"low": node.low - out_offset, "high": node.high - out_offset}
    if isinstance(node, Requantize):
        fields["params"] = requantize_params(
            config,
            node.name,
            node,
            np.full(channels, offset, np.int64),
            np.full(channels, type_.low - offset, np.int64),
            np.full(channels, type_.high - offset, np.int64),
            out_offset,
        )
    else:
        fields["params"] = identity_params(config, config.post_lanes)
        fields["shared_params"] = True
    if isinstance(node, MaxPool2d):
        fields |= {"stride": node.stride, "padding": node.padding}
    return Layer(
        name=node.name,
        sources=(source,),
        target=node.name,
        unit=Unit.MAX,
        weight=None,
        kernel=node.kernel if isinstance(node, MaxPool2d) else (1, 1),
        pad=lowest,
        out_shape=context.shapes[node.name],
        **fields,
    )
