"""Tables: behind the layer that computes their input, or a layer of their own."""

from dataclasses import replace

import numpy as np

from hw.compiler.errors import CompileError
from hw.compiler.lower.context import Context
from hw.compiler.lower.maximum import maximum
from hw.contract.config import MOST_TABLE_BITS
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
    # First, for what reads it is looked at even if the table is refused.
    context.add_tensor(node.name)
    wide = context.config.act_bits > MOST_TABLE_BITS
    table, shift = _stored_knots(context, node) if wide else (_stored_table(context, node), 0)
    source = node.input
    alone = context.users[source] == 1 and source not in context.graph.outputs
    # Two tables of knots are no table of knots.
    twice = wide and isinstance(context.graph[source], Table)
    if twice or not (alone and isinstance(context.graph[source], _WRITTEN)):
        layer = maximum(context, node)
        context.layers.append(replace(layer, table=table, table_shift=shift))
        return
    del context.shapes[source], context.offsets[source]
    index = next((i for i, layer in enumerate(context.layers) if layer.target == source), None)
    if index is None:
        # It was refused.
        return
    layer = context.layers[index]
    if layer.table is not None:
        table = table[layer.table % len(table)]
    context.layers[index] = layer.everywhere(target=node.name, table=table, table_shift=shift)


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


def _stored_knots(context: Context, node: Table) -> tuple[np.ndarray, int]:
    """For each value of the 8 bits that choose a knot its stored code and the rise to the next,
    (256, 2); and by how many bits a stored code is moved up, so that these bits are its highest.

    Raises :class:`CompileError` for a table that has too many entries, or too few.
    """
    bits, out_offset = context.types[node.input].bits, context.offset_of(node.name)
    entries = node.table.astype(np.int64)
    if bits <= MOST_TABLE_BITS:
        entries = table_codes(entries, bits)
    whole = len(entries) == 1 << bits
    knot_bits = bits if whole else (len(entries) - 1).bit_length() - 1
    # Bits between two knots, and as many as the hardware has.
    between, most = bits - knot_bits, context.config.act_bits - MOST_TABLE_BITS
    if knot_bits > MOST_TABLE_BITS or between > most:
        raise CompileError(
            f"layer {node.name}: a table of {bits}-bit codes must have 2**k + 1 knots with k = "
            f"{bits - most}...{MOST_TABLE_BITS} for act_bits = {context.config.act_bits}, "
            f"not {len(entries)} entries"
        )
    chosen = np.arange(1 << MOST_TABLE_BITS)
    stored = chosen << between
    codes = stored + context.offset_of(node.input) - context.types[node.input].low
    knots = codes % (1 << bits) >> between
    rises = np.zeros_like(chosen) if whole else (entries[1:] - entries[:-1])[knots]
    return np.stack([entries[knots] - out_offset, rises], axis=1), most - between
