"""Channel shuffles, which exporters write as a reshape, a transposition and a reshape back."""

from dataclasses import replace

import numpy as np

from .model import Model, Operator

__all__ = ["shuffles_gathered"]


def shuffles_gathered(model: Model) -> Model:
    """``model`` with a Gather in place of each shuffle of channels that is written with groups."""
    makers = {name: op for op in model.operators for name in op.outputs}
    reads = [name for op in model.operators for name in op.inputs] + list(model.outputs)
    constants, operators = dict(model.constants), []
    for op in model.operators:
        parts = _parts(op, makers, reads)
        order = None if parts is None else _order(model, *parts)
        if order is None:
            operators.append(op)
            continue
        index = f"order of {op.outputs[0]}"
        constants[index] = order
        source = parts[0].inputs[0]
        operators.append(replace(op, kind="Gather", inputs=(source, index), attributes={"axis": 1}))
    needed, live = set(model.outputs), []
    for op in reversed(operators):
        if needed & set(op.outputs):
            needed |= set(op.inputs)
            live.append(op)
    return replace(model, operators=tuple(reversed(live)), constants=constants)


def _parts(op: Operator, makers: dict, reads: list) -> tuple[Operator, Operator, Operator] | None:
    """A reshape, a transposition that alone reads it, and ``op``, a reshape that alone reads that;
    None where ``op`` is not the end of such."""
    if op.kind != "Reshape":
        return None
    turned = makers.get(op.inputs[0])
    if turned is None or turned.kind != "Transpose" or reads.count(op.inputs[0]) != 1:
        return None
    opened = makers.get(turned.inputs[0])
    if opened is None or opened.kind != "Reshape" or reads.count(turned.inputs[0]) != 1:
        return None
    return opened, turned, op


def _order(model: Model, opened: Operator, turned: Operator, closed: Operator) -> np.ndarray | None:
    """The channel of the map for each channel after all three; None where more than channels
    change places."""
    shapes = [model.shapes.get(name) for name in (opened.inputs[0], *opened.outputs)]
    after = model.shapes.get(closed.outputs[0])
    if None in shapes or after is None:
        return None
    before, groups = shapes
    axes = turned.attributes.get("perm", ())
    rank = len(groups)
    if before != after or len(before) != 4 or rank < 5 or len(axes) != rank:
        return None
    fixed = (axes[0], *axes[-2:]) == (0, rank - 2, rank - 1) and groups[-2:] == before[-2:]
    if not fixed or groups[0] != before[0]:
        return None
    channels = np.arange(before[1]).reshape(groups[1:-2])
    return channels.transpose([axis - 1 for axis in axes[1:-2]]).reshape(-1)
