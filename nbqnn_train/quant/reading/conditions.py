"""Reads comparisons, and choices by them.

A condition is read as 1 where it holds and 0 elsewhere. Of one value, comparisons and choices are
tables; of several, tables of differences, and products with a condition.
"""

import torch
from torch import Tensor, fx

from nbqnn_train.quant.pointwise import ELEMENT, called
from nbqnn_train.quant.reading.arithmetic import product_of, sum_of
from nbqnn_train.quant.reading.pointwise import functions_of_one, table
from nbqnn_train.quant.reading.program import BATCH
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.remedies import unsupported_operator
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value

__all__ = []

aten = torch.ops.aten
_MASKS = "compare with numbers, and choose between values or single numbers"
_LOGICAL = {
    "logical_and": aten.logical_and,
    "bitwise_and": aten.logical_and,
    "__and__": aten.logical_and,
    "logical_or": aten.logical_or,
    "bitwise_or": aten.logical_or,
    "__or__": aten.logical_or,
    "logical_xor": aten.logical_xor,
    "bitwise_xor": aten.logical_xor,
    "__xor__": aten.logical_xor,
}


@rule("gt", "ge", "lt", "le", "eq", "ne")
def _compared(reader: Reader, node: fx.Node, operand, other) -> Value:
    comparison = node.target.overloadpacket
    found = _together(reader, (operand, other))
    if found is None and reader.is_value(operand) and reader.is_value(other):
        over = sum_of(reader, node, reader.value(operand), reader.value(other), -1)
        found = over, [ELEMENT, 0.0]
    if found is None:
        raise Unsupported(f"a comparison ({comparison.__name__}) with a constant tensor", _MASKS)
    source, (left, right) = found
    return table(reader, node, source, called(_as_number, (comparison, left, right, ELEMENT), {}))


@rule("logical_not", "bitwise_not")
def _inverted(reader: Reader, node: fx.Node, operand) -> Value:
    _check_condition(node)
    return _not(reader, node, reader.value(operand))


def _not(reader: Reader, node: fx.Node, condition: Value) -> Value:
    inverted = called(_as_number, (aten.eq, ELEMENT, 0.0, ELEMENT), {})
    return table(reader, node, condition, inverted)


@rule(*_LOGICAL)
def _joined(reader: Reader, node: fx.Node, operand, other) -> Value:
    _check_condition(node)
    name = node.target.overloadpacket.__name__
    found = _together(reader, (operand, other))
    if found is not None:
        source, parts = found
        joined = called(_as_number, (_LOGICAL[name], *parts, ELEMENT), {})
        return table(reader, node, source, joined)
    left, right = reader.value(operand), reader.value(other)
    if _LOGICAL[name] is aten.logical_and:
        return product_of(reader, node, left, right)
    raise Unsupported("a condition of several values that are not joined by 'and'", _MASKS)


def _check_condition(node: fx.Node) -> None:
    if node.meta["val"].dtype != torch.bool:
        raise Unsupported("an operation on the bits of numbers", "compare with numbers")


@rule("where")
def _chosen(reader: Reader, node: fx.Node, condition, operand, other) -> Value:
    return _choice(reader, node, condition, operand, other)


@rule("masked_fill", "masked_fill_")
def _filled(reader: Reader, node: fx.Node, operand, mask, value) -> Value:
    return _choice(reader, node, mask, value, operand)


@rule("index_put")
def _assigned(reader: Reader, node: fx.Node, operand, indices, values, accumulate) -> Value:
    mask = indices[0].meta["val"] if len(indices) == 1 and indices[0] is not None else None
    same = mask is not None and mask.dtype == torch.bool and mask.shape == node.meta["val"].shape
    if not same or accumulate or reader.is_value(values):
        raise unsupported_operator("index_put")
    return _choice(reader, node, indices[0], values, operand)


def _choice(reader: Reader, node: fx.Node, condition, operand, other) -> Value:
    if not reader.is_value(condition):
        raise Unsupported("a choice by a constant tensor", "multiply by a constant of 0 and 1")
    found = _together(reader, (condition, operand, other))
    if found is not None:
        source, parts = found
        return table(reader, node, source, called(_where, tuple(parts), {}))
    # Products with 0 and 1.
    holds = reader.value(condition)
    fails = _not(reader, node, holds)
    terms = [_kept(reader, node, *pair) for pair in ((holds, operand), (fails, other))]
    return sum_of(reader, node, *terms)


def _kept(reader: Reader, node: fx.Node, condition: Value, operand) -> Value:
    """``operand`` where the condition is 1, else 0."""
    if reader.is_value(operand):
        return product_of(reader, node, condition, reader.value(operand))
    number = _number(reader, operand)
    if number is None:
        raise Unsupported("a choice of a constant tensor", _MASKS)
    return table(reader, node, condition, called(aten.mul, (ELEMENT, number), {}))


@rule("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def _filled_like(reader: Reader, node: fx.Node, **arguments) -> Constant:
    """One number for all elements. Beside a batch it is a number alone; where that is not enough,
    what reads it refuses."""
    name = node.target.overloadpacket.__name__
    fill = arguments.get("fill_value", 1.0 if "ones" in name else 0.0)
    made = node.meta["val"]
    number = torch.tensor(float(fill), dtype=made.dtype)
    return Constant(number if made.shape[:1] == (BATCH,) else number.repeat(made.shape))


def _together(reader: Reader, operands: tuple) -> tuple[Value, list] | None:
    """The value of which all operands are functions of one element, and the functions; numbers stay
    as they are. None where there is no such value."""
    values = [reader.value(operand) for operand in operands if reader.is_value(operand)]
    found = functions_of_one(reader, values)
    if found is None:
        return None
    source, functions = found
    remaining = iter(functions)
    parts = []
    for operand in operands:
        if reader.is_value(operand):
            parts.append(next(remaining))
            continue
        parts.append(_number(reader, operand))
    return None if None in parts else (source, parts)


def _number(reader: Reader, operand) -> float | None:
    """The number that a constant is; None for one of several elements, or that learns."""
    constant = reader.constant(operand)
    if constant.learned or constant.tensor.numel() != 1:
        return None
    return float(constant.tensor)


def _as_number(comparison, left, right, element: Tensor) -> Tensor:
    left, right = (torch.as_tensor(part, dtype=element.dtype) for part in (left, right))
    return comparison(left, right).to(element.dtype).expand_as(element)


def _where(condition, operand, other) -> Tensor:
    like = next(part for part in (condition, operand, other) if isinstance(part, Tensor))
    numbers = [torch.as_tensor(part, dtype=like.dtype) for part in (condition, operand, other)]
    return torch.where(numbers[0] != 0, numbers[1], numbers[2])
