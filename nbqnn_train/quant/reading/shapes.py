"""Reads changes of shape, and operators that change nothing."""

from dataclasses import replace

import torch
from torch import fx

from nbqnn_train.quant.reading.program import BATCH
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Joined, Value

__all__ = []


@rule(
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "_unsafe_view",
    "view_as",
    "reshape_as",
)
def _view(reader: Reader, node: fx.Node, operand, **_) -> Value | Joined:
    value = reader.whole(operand)
    after = node.meta["val"]
    if after.shape[:1] != (BATCH,) or after[0].numel() != value.size:
        raise Unsupported(
            "a change of shape that mixes images",
            "flatten with x.flatten(1): the batch stays in front",
            "shape",
        )
    return value.viewed(tuple(after.shape[1:]), reader.base_name(node))


def _reordered(reader: Reader, node: fx.Node, operand, order: list[int]) -> Value | Joined:
    if order[0] != 0:
        raise Unsupported("a permutation that moves the batch", "keep the batch in front", "shape")
    return reader.whole(operand).permuted(tuple(d - 1 for d in order[1:]))


@rule("permute")
def _permute(reader: Reader, node: fx.Node, operand, dims) -> Value | Joined:
    return _reordered(reader, node, operand, [d % len(dims) for d in dims])


@rule("transpose", "swapaxes")
def _transpose(reader: Reader, node: fx.Node, operand, **dims) -> Value | Joined:
    rank = node.meta["val"].dim()
    a, b = (d % rank for d in dims.values())
    order = list(range(rank))
    order[a], order[b] = b, a
    return _reordered(reader, node, operand, order)


@rule("movedim", "moveaxis")
def _movedim(reader: Reader, node: fx.Node, operand, source, destination) -> Value | Joined:
    rank = node.meta["val"].dim()
    # PyTorch itself moves the dimensions, which are told apart by their sizes.
    moved = torch.empty(tuple(range(1, rank + 1)), device="meta").movedim(source, destination)
    return _reordered(reader, node, operand, [size - 1 for size in moved.shape])


@rule("clone", "contiguous", "detach", "detach_", "alias", "lift_fresh_copy", "lift_fresh")
def _same(reader: Reader, node: fx.Node, operand, **_) -> Value | Joined:
    return reader.whole(operand)


@rule("to", "_to_copy", "type_as")
def _cast(reader: Reader, node: fx.Node, operand, **_) -> Value | Constant:
    constant = reader.values.get(operand)
    if isinstance(constant, Constant):  # only the type is the value's
        cast = constant.tensor.to(node.meta["val"].dtype)
        return constant if cast is constant.tensor else replace(constant, tensor=cast, path="")
    before = node.args[0].meta["val"].dtype
    after = node.meta["val"].dtype
    if before == torch.bool and after.is_floating_point:
        return reader.value(operand)  # a condition is 0 or 1 already
    if before != after:
        shown = str(after).removeprefix("torch.")
        raise Unsupported(
            f"a conversion to {shown}", "leave the type of numbers to the quantized network"
        )
    return reader.value(operand)
