"""Layers of the maximum unit: pooling, and with a window of one position requantize and clip."""

import numpy as np

from hw.compiler.constants import identity_params, requantize_params
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.contract.isa import Unit
from nbqnn_train.graph import Clip, MaxPool2d, Requantize
from nbqnn_train.graph.operators import Table

__all__ = ["maximum"]


def maximum(context: Context, node: Requantize | Clip | MaxPool2d | Table) -> Layer:
    """The layer of a node that reads activations and sums nothing; a table's comes without it."""
    config = context.config
    source = context.source(node, node.input)
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
