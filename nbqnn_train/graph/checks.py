"""Checks that the nodes' own checks are made of."""

import numpy as np

from . import limits
from .errors import GraphError
from .nodes import Node, TensorType

__all__ = [
    "check_activation",
    "check_array",
    "check_format",
    "check_int",
    "check_ints",
    "check_weights",
    "feature_map",
    "is_int",
    "label",
    "short",
]

#: Number of weights that are checked at a time; so many fit the cache.
_BLOCK = 1 << 16


def label(node: Node) -> str:
    """The name of a node in messages: ``Conv2d 'layer1.conv'``."""
    return f"{type(node).__name__} {node.name!r}"


def short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def is_int(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_int(node: Node, field: str, allowed: tuple[int, int]) -> None:
    value = getattr(node, field)
    if not is_int(value) or not allowed[0] <= value <= allowed[1]:
        raise GraphError(
            f"{label(node)}: {field} must be in {allowed[0]}..{allowed[1]}, not {short(value)}"
        )


def check_ints(node: Node, field: str, length: int, allowed: tuple[int, int]) -> None:
    values = getattr(node, field)
    good = isinstance(values, tuple) and len(values) == length
    if not good or not all(is_int(v) and allowed[0] <= v <= allowed[1] for v in values):
        raise GraphError(
            f"{label(node)}: {field} must be {length} integers in {allowed[0]}..{allowed[1]}, "
            f"not {short(values)}"
        )


def check_array(node: Node, field: str, shape: tuple[int, ...], allowed: tuple[int, int]) -> None:
    values = getattr(node, field)
    if values.shape != shape:
        raise GraphError(f"{label(node)}: {field} must have shape {shape}, not {values.shape}")
    bad = (values < allowed[0]) | (values > allowed[1])
    if bad.any():
        at = int(np.argmax(bad))
        raise GraphError(
            f"{label(node)}: {field} must be in {allowed[0]}..{allowed[1]}, "
            f"not {int(values.flat[at])} (channel {at})"
        )


def check_format(node: Node) -> None:
    check_int(node, "bits", limits.ACT_BITS)
    if not isinstance(node.signed, bool):
        raise GraphError(f"{label(node)}: signed must be a bool, not {short(node.signed)}")
    check_int(node, "exponent", limits.EXPONENT)


def check_weights(node: Node, dimensions: int) -> None:
    check_int(node, "weight_bits", limits.WEIGHT_BITS)
    weight = node.weight
    if weight.ndim != dimensions or 0 in weight.shape:
        raise GraphError(
            f"{label(node)}: weight must have {dimensions} dimensions of at least 1, "
            f"not shape {weight.shape}"
        )
    largest = limits.max_weight(node.weight_bits)
    allowed = np.array([0, *(1 << k for k in range(largest.bit_length()))])
    for start in range(0, weight.size, _BLOCK):
        block = weight.reshape(-1)[start : start + _BLOCK]
        # In int64 the magnitude of -2**63 is negative. It is refused like any weight too large.
        magnitude = np.abs(block)
        bad = (
            (magnitude & (magnitude - 1)).any() or magnitude.max() > largest or magnitude.min() < 0
        )
        if bad:
            first = start + int(np.argmin(np.isin(magnitude, allowed)))
            at = np.unravel_index(first, weight.shape)
            raise GraphError(
                f"{label(node)}: weight{[int(i) for i in at]} is {int(weight[at])}; a "
                f"{node.weight_bits}-bit weight must be 0 or a signed power of two of at most "
                f"{largest}"
            )
    check_array(node, "weight_exponent", weight.shape[:1], limits.EXPONENT)
    check_int(node, "acc_bits", limits.ACC_BITS)


def check_activation(node: Node, source: TensorType, name: str) -> None:
    if source.is_accumulator:
        raise GraphError(
            f"{label(node)}: input {name!r} holds accumulators; a Requantize must come between"
        )


def feature_map(node: Node, source: TensorType) -> tuple[int, int, int]:
    if len(source.shape) != 3:
        raise GraphError(
            f"{label(node)}: input {node.inputs[0]!r} must have shape (C, H, W), not {source.shape}"
        )
    return source.shape
