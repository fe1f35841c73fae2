"""Sums of several activations, products of two, and activations that are constants."""

from dataclasses import dataclass
from math import prod

import numpy as np

from .. import limits
from ..checks import check_activation, check_format, check_int, check_ints, label, short
from ..errors import GraphError
from ..intervals import Interval, Step, ends
from ..nodes import Node, TensorType
from .operator import Operator

__all__ = ["SUMS", "Constant", "Multiply", "Sum"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum(Node):
    """``acc = sum over i of signs[i] * (operand i << shifts[i])``: activations of equal shape.

    ``exponent of operand i - shifts[i]`` is equal for all i: it is the accumulator's exponent.

    operands : two or more names; a name may occur twice.
    shifts : one for each operand, 0..31.
    signs : one for each operand, 1 or -1.
    """

    operands: tuple[str, ...]
    shifts: tuple[int, ...]
    signs: tuple[int, ...]
    acc_bits: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.operands


@dataclass(frozen=True, kw_only=True, eq=False)
class Multiply(Node):
    """``acc = a * b``, element by element; the accumulator's exponent is the sum of both.

    ``b`` has the shape of ``a``, or (C, 1, 1): one factor for each channel of a map.
    """

    operands: tuple[str, str]
    acc_bits: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.operands


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant(Node):
    """An activation that is the same for every image.

    codes : (C, H, W) or (F,), in the range of the format.
    """

    codes: np.ndarray
    bits: int
    signed: bool
    exponent: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()


def _check_sum(node: Sum) -> None:
    count = len(node.operands)
    if not 2 <= count <= limits.MAX_OPERANDS:
        raise GraphError(
            f"{label(node)}: operands must be 2..{limits.MAX_OPERANDS} names, "
            f"not {short(node.operands)}"
        )
    check_ints(node, "shifts", count, limits.ADD_SHIFT)
    check_ints(node, "signs", count, (-1, 1))
    if 0 in node.signs:
        raise GraphError(f"{label(node)}: signs must be 1 or -1, not {short(node.signs)}")
    check_int(node, "acc_bits", limits.ACC_BITS)


def _infer_sum(node: Sum, *sources: TensorType) -> TensorType:
    for name, source in zip(node.operands, sources, strict=True):
        check_activation(node, source, name)
        if source.shape != sources[0].shape:
            raise GraphError(
                f"{label(node)}: operands must have equal shapes, "
                f"not {sources[0].shape} and {source.shape}"
            )
    steps = [s.exponent - int(shift) for s, shift in zip(sources, node.shifts, strict=True)]
    if len(set(steps)) != 1:
        raise GraphError(
            f"{label(node)}: exponents {tuple(s.exponent for s in sources)} with shifts "
            f"{tuple(node.shifts)} must meet on one step, not on {short(tuple(steps))}"
        )
    shape = sources[0].shape
    return TensorType(
        shape=shape, bits=int(node.acc_bits), signed=True, exponent=(steps[0],) * shape[0]
    )


def _bound_sum(node: Sum, types: dict[str, TensorType], *sources: Interval) -> Step:
    low = high = below = above = magnitude = np.zeros(1, np.int64)
    for source, shift, sign in zip(sources, node.shifts, node.signs, strict=True):
        first, last = source.low << int(shift), source.high << int(shift)
        if sign < 0:
            first, last = -last, -first
        low, high = low + first, high + last
        below, above = below + np.minimum(first, 0), above + np.maximum(last, 0)
        magnitude = magnitude + np.maximum(-first, last)
    return Step(
        values=Interval(low, high),
        partial=ends(Interval(below, above)),
        magnitude=int(magnitude.max()),
    )


def _step_sum(node: Sum, source, dtype, batch: int, *operands: np.ndarray) -> np.ndarray:
    total = np.zeros(operands[0].shape, dtype)
    for x, shift, sign in zip(operands, node.shifts, node.signs, strict=True):
        total += x.astype(dtype, copy=False) * dtype.type(int(sign) << int(shift))
    return total


def _check_multiply(node: Multiply) -> None:
    if len(node.operands) != 2:
        raise GraphError(f"{label(node)}: operands must be 2 names, not {short(node.operands)}")
    check_int(node, "acc_bits", limits.ACC_BITS)


def _infer_multiply(node: Multiply, a: TensorType, b: TensorType) -> TensorType:
    for name, source in zip(node.operands, (a, b), strict=True):
        check_activation(node, source, name)
    if b.shape != a.shape and not (len(a.shape) == 3 and b.shape == (a.shape[0], 1, 1)):
        raise GraphError(
            f"{label(node)}: operands must have equal shapes, or be a map and (C, 1, 1), "
            f"not {a.shape} and {b.shape}"
        )
    exponent = (a.exponent + b.exponent,) * a.shape[0]
    return TensorType(shape=a.shape, bits=int(node.acc_bits), signed=True, exponent=exponent)


def _bound_multiply(node: Multiply, types: dict[str, TensorType], a: Interval, b: Interval) -> Step:
    corners = np.stack(
        np.broadcast_arrays(a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high)
    )
    values = Interval(corners.min(axis=0), corners.max(axis=0))
    low, high = ends(values)
    partial = (min(low, 0), max(high, 0))
    return Step(values=values, partial=partial, magnitude=max(-low, high, 0))


def _step_multiply(node: Multiply, source, dtype, batch: int, a, b) -> np.ndarray:
    return a.astype(dtype, copy=False) * b.astype(dtype, copy=False)


def _check_constant(node: Constant) -> None:
    check_format(node)
    shape = node.codes.shape
    if len(shape) not in (1, 3) or not prod(shape):
        raise GraphError(f"{label(node)}: codes must have shape (C, H, W) or (F,), not {shape}")
    largest = limits.MAX_FEATURES if len(shape) == 1 else limits.MAX_DIMENSION
    if max(shape) > largest:
        raise GraphError(f"{label(node)}: sizes must be at most {largest}, not {shape}")
    least = -(1 << (node.bits - 1)) if node.signed else 0
    most = (1 << (node.bits - int(node.signed))) - 1
    low, high = int(node.codes.min()), int(node.codes.max())
    if low < least or high > most:
        raise GraphError(f"{label(node)}: codes must be in {least}..{most}, not in {low}..{high}")


def _infer_constant(node: Constant) -> TensorType:
    return TensorType(
        shape=node.codes.shape,
        bits=int(node.bits),
        signed=node.signed,
        exponent=int(node.exponent),
    )


def _bound_constant(node: Constant, types: dict[str, TensorType]) -> Step:
    rows = node.codes.reshape(len(node.codes), -1)
    return Step(values=Interval(rows.min(axis=1), rows.max(axis=1)))


def _step_constant(node: Constant, source, dtype, batch: int) -> np.ndarray:
    return np.broadcast_to(node.codes.astype(np.float32), (batch, *node.codes.shape))


SUMS = {
    Sum: Operator(check=_check_sum, infer=_infer_sum, bound=_bound_sum, step=_step_sum),
    Multiply: Operator(
        check=_check_multiply, infer=_infer_multiply, bound=_bound_multiply, step=_step_multiply
    ),
    Constant: Operator(
        check=_check_constant, infer=_infer_constant, bound=_bound_constant, step=_step_constant
    ),
}
