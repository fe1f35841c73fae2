"""What one node says about itself, checked without looking at its neighbours."""

import numpy as np

from . import limits
from .errors import GraphError
from .nodes import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
)

__all__ = ["check_fields", "label"]

#: Weights that are looked at in one go: what fits the cache.
_BLOCK = 1 << 16


def label(node: Node) -> str:
    """How messages call a node: ``Conv2d 'layer1.conv'``."""
    return f"{type(node).__name__} {node.name!r}"


def check_fields(node: Node) -> None:
    """Raises :class:`GraphError` for the first field that the contract does not allow."""
    check = _CHECKS.get(type(node))
    if check is None:
        raise GraphError(
            f"Graph holds {type(node).__name__}; nodes must be one of "
            + ", ".join(kind.__name__ for kind in _CHECKS)
        )
    _check_name(node)
    check(node)


def _check_name(node: Node) -> None:
    name = node.name
    if not isinstance(name, str) or not 0 < len(name) <= limits.MAX_NAME or not name.isprintable():
        raise GraphError(
            f"Name of {type(node).__name__} must be 1..{limits.MAX_NAME} printable characters, "
            f"not {_short(name)}"
        )
    for source in node.inputs if _has_operand_names(node) else ():
        if not isinstance(source, str):
            raise GraphError(f"{label(node)}: input must be a name, not {_short(source)}")


def _has_operand_names(node: Node) -> bool:
    if isinstance(node, (Add, Concat)) and not isinstance(node.operands, tuple):
        raise GraphError(
            f"{label(node)}: operands must be a tuple of names, not {_short(node.operands)}"
        )
    return True


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_int(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _check_int(node: Node, field: str, allowed: tuple[int, int]) -> None:
    value = getattr(node, field)
    if not _is_int(value) or not allowed[0] <= value <= allowed[1]:
        raise GraphError(
            f"{label(node)}: {field} must be in {allowed[0]}..{allowed[1]}, not {_short(value)}"
        )


def _check_ints(node: Node, field: str, length: int, allowed: tuple[int, int]) -> None:
    values = getattr(node, field)
    good = isinstance(values, tuple) and len(values) == length
    if not good or not all(_is_int(v) and allowed[0] <= v <= allowed[1] for v in values):
        raise GraphError(
            f"{label(node)}: {field} must be {length} integers in {allowed[0]}..{allowed[1]}, "
            f"not {_short(values)}"
        )


def _check_array(node: Node, field: str, shape: tuple[int, ...], allowed: tuple[int, int]) -> None:
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


def _check_format(node: Input | Requantize) -> None:
    _check_int(node, "bits", limits.ACT_BITS)
    if not isinstance(node.signed, bool):
        raise GraphError(f"{label(node)}: signed must be a bool, not {_short(node.signed)}")
    _check_int(node, "exponent", limits.EXPONENT)


def _check_weights(node: Conv2d | Linear, dimensions: int) -> None:
    _check_int(node, "weight_bits", limits.WEIGHT_BITS)
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
        # The magnitude of -2**63 is negative: it is caught as well as what is too large.
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
    _check_array(node, "weight_exponent", weight.shape[:1], limits.EXPONENT)
    _check_int(node, "acc_bits", limits.ACC_BITS)


def _check_input(node: Input) -> None:
    _check_format(node)
    shape = node.shape
    largest = (
        limits.MAX_FEATURES
        if isinstance(shape, tuple) and len(shape) == 1
        else (limits.MAX_DIMENSION)
    )
    if not isinstance(shape, tuple) or len(shape) not in (1, 3):
        raise GraphError(f"{label(node)}: shape must be (C, H, W) or (F,), not {_short(shape)}")
    _check_ints(node, "shape", len(shape), (1, largest))


def _check_conv(node: Conv2d) -> None:
    _check_weights(node, 4)
    _check_ints(node, "stride", 2, limits.STRIDE)
    _check_ints(node, "padding", 4, limits.PADDING)
    _check_ints(node, "dilation", 2, limits.DILATION)
    _check_int(node, "groups", (1, limits.MAX_DIMENSION))
    if node.weight.shape[0] % node.groups:
        raise GraphError(
            f"{label(node)}: groups must divide the {node.weight.shape[0]} output channels, "
            f"not {node.groups}"
        )


def _check_linear(node: Linear) -> None:
    _check_weights(node, 2)


def _check_window(node: MaxPool2d | AvgPool2d) -> None:
    _check_ints(node, "kernel", 2, limits.KERNEL)
    _check_ints(node, "stride", 2, limits.STRIDE)
    _check_ints(node, "padding", 4, limits.PADDING)
    # With padding smaller than the kernel every window holds at least one real position: the first
    # one reaches row kernel - 1 - top >= 0, the last one starts before row height + bottom - kernel
    # + 1.
    for value, kernel in zip(node.padding, node.kernel * 2, strict=True):
        if value >= kernel:
            raise GraphError(
                f"{label(node)}: padding must be smaller than the kernel {tuple(node.kernel)}, "
                f"not {tuple(node.padding)}"
            )


def _check_avg_pool(node: AvgPool2d) -> None:
    _check_window(node)
    _check_int(node, "multiplier", limits.AVG_MULTIPLIER)
    _check_int(node, "shift", limits.AVG_SHIFT)
    _check_int(node, "acc_bits", limits.ACC_BITS)


def _check_add(node: Add) -> None:
    if len(node.operands) != 2:
        raise GraphError(f"{label(node)}: operands must be 2 names, not {_short(node.operands)}")
    _check_ints(node, "shifts", 2, limits.ADD_SHIFT)
    _check_int(node, "acc_bits", limits.ACC_BITS)


def _check_concat(node: Concat) -> None:
    if len(node.operands) < 2:
        raise GraphError(
            f"{label(node)}: operands must be at least 2 names, not {_short(node.operands)}"
        )


def _check_flatten(node: Flatten) -> None:
    """Flatten has no fields beyond its input."""


def _check_clip(node: Clip) -> None:
    whole = (-(1 << 15), (1 << 16) - 1)
    _check_int(node, "low", whole)
    _check_int(node, "high", (int(node.low), whole[1]))


def _check_requantize(node: Requantize) -> None:
    _check_format(node)
    channels = node.multiplier.shape
    if len(channels) != 1 or channels[0] == 0:
        raise GraphError(f"{label(node)}: multiplier must have shape (C,), not {channels}")
    _check_array(node, "multiplier", channels, limits.MULTIPLIER)
    _check_array(node, "bias", channels, limits.BIAS)
    _check_array(node, "shift", channels, limits.REQUANT_SHIFT)
    least = -(1 << (node.bits - 1)) if node.signed else 0
    most = (1 << (node.bits - int(node.signed))) - 1
    _check_int(node, "low", (least, most))
    _check_int(node, "high", (int(node.low), most))


_CHECKS = {
    Input: _check_input,
    Conv2d: _check_conv,
    Linear: _check_linear,
    MaxPool2d: _check_window,
    AvgPool2d: _check_avg_pool,
    Add: _check_add,
    Concat: _check_concat,
    Flatten: _check_flatten,
    Clip: _check_clip,
    Requantize: _check_requantize,
}
