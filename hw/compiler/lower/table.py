"""Tables: behind the layer that computes their input, or a layer of their own."""

from dataclasses import replace

import numpy as np

from hw.compiler.lower.context import Context
from hw.compiler.lower.maximum import maximum
from nbqnn_train.graph import Clip, MaxPool2d, Requantize
from nbqnn_train.graph.operators import Table
from nbqnn_train.graph.operators.table import table_codes

__all__ = ["look_up"]

#: What layers write, so that they may end in a table.
_WRITTEN = (Requantize, Clip, MaxPool2d, Table)


def look_up(context: Context, node: Table) -> None:
    """Adds the table to the layer that writes its input, or a layer that does nothing else.

    The former where nobody else needs the input, which then is stored nowhere.
    """
    table = _stored_table(context, node)
    source = node.input
    alone = context.users[source] == 1 and source not in context.graph.outputs
    if not (alone and isinstance(context.graph[source], _WRITTEN)):
        context.add_tensor(node.name)
        context.layers.append(replace(maximum(context, node), table=table))
        return
    context.add_tensor(node.name)
    del context.shapes[source], context.offsets[source]
    index = next((i for i, layer in enumerate(context.layers) if layer.target == source), None)
    if index is None:
        # It was refused.
        return
    layer = context.layers[index]
    if layer.table is not None:
        table = table[layer.table % len(table)]
    context.layers[index] = layer.everywhere(target=node.name, table=table)


def _stored_table(context: Context, node: Table) -> np.ndarray:
    """The stored code (2**act_bits,) for every stored code, as an unsigned number.

    Codes that the input cannot have are those of the nearest one.
    """
    type_ = context.types[node.input]
    half = 1 << context.config.act_bits - 1
    stored = (np.arange(2 * half) + half) % (2 * half) - half
    codes = np.clip(stored + context.offset_of(node.input), type_.low, type_.high)
    out = table_codes(node.table.astype(np.int64), type_.bits)[codes - type_.low]
    return out - context.offset_of(node.name)
