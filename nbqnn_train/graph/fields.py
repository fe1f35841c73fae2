"""Checks of the fields of one node, without its neighbours."""

from . import limits
from .checks import check_array, check_format, check_int, check_ints, check_weights, label, short
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
from .operators import OPERATORS

__all__ = ["check_fields"]


def check_fields(node: Node) -> None:
    """Raises :class:`GraphError` for the first field that the contract does not allow."""
    kinds = _CHECKS | {kind: operator.check for kind, operator in OPERATORS.items()}
    if type(node) not in kinds:
        raise GraphError(
            f"Graph holds {type(node).__name__}; nodes must be one of "
            + ", ".join(kind.__name__ for kind in kinds)
        )
    _check_name(node)
    kinds[type(node)](node)


def _check_name(node: Node) -> None:
    name = node.name
    if not isinstance(name, str) or not 0 < len(name) <= limits.MAX_NAME or not name.isprintable():
        raise GraphError(
            f"Name of {type(node).__name__} must be 1..{limits.MAX_NAME} printable characters, "
            f"not {short(name)}"
        )
    for source in node.inputs if _has_operand_names(node) else ():
        if not isinstance(source, str):
            raise GraphError(f"{label(node)}: input must be a name, not {short(source)}")


def _has_operand_names(node: Node) -> bool:
    if not isinstance(getattr(node, "operands", ()), tuple):
        raise GraphError(
            f"{label(node)}: operands must be a tuple of names, not {short(node.operands)}"
        )
    return True


def _check_input(node: Input) -> None:
    check_format(node)
    if node.ties not in ("up", "even", "odd"):
        raise GraphError(f"{label(node)}: ties must be up, even or odd, not {short(node.ties)}")
    shape = node.shape
    largest = (
        limits.MAX_FEATURES
        if isinstance(shape, tuple) and len(shape) == 1
        else (limits.MAX_DIMENSION)
    )
    if not isinstance(shape, tuple) or len(shape) not in (1, 3):
        raise GraphError(f"{label(node)}: shape must be (C, H, W) or (F,), not {short(shape)}")
    check_ints(node, "shape", len(shape), (1, largest))


def _check_conv(node: Conv2d) -> None:
    check_weights(node, 4)
    check_ints(node, "stride", 2, limits.STRIDE)
    check_ints(node, "padding", 4, limits.PADDING)
    check_ints(node, "dilation", 2, limits.DILATION)
    check_int(node, "groups", (1, limits.MAX_DIMENSION))
    if node.weight.shape[0] % node.groups:
        raise GraphError(
            f"{label(node)}: groups must divide the {node.weight.shape[0]} output channels, "
            f"not {node.groups}"
        )


def _check_linear(node: Linear) -> None:
    check_weights(node, 2)


def _check_window(node: MaxPool2d | AvgPool2d) -> None:
    check_ints(node, "kernel", 2, limits.KERNEL)
    check_ints(node, "stride", 2, limits.STRIDE)
    check_ints(node, "padding", 4, limits.PADDING)
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
    check_int(node, "multiplier", limits.AVG_MULTIPLIER)
    check_int(node, "shift", limits.AVG_SHIFT)
    check_int(node, "acc_bits", limits.ACC_BITS)


def _check_add(node: Add) -> None:
    if len(node.operands) != 2:
        raise GraphError(f"{label(node)}: operands must be 2 names, not {short(node.operands)}")
    check_ints(node, "shifts", 2, limits.ADD_SHIFT)
    check_int(node, "acc_bits", limits.ACC_BITS)


def _check_concat(node: Concat) -> None:
    if len(node.operands) < 2:
        raise GraphError(
            f"{label(node)}: operands must be at least 2 names, not {short(node.operands)}"
        )


def _check_flatten(node: Flatten) -> None:
    """Flatten has no fields beyond its input."""


def _check_clip(node: Clip) -> None:
    whole = (-(1 << 15), (1 << 16) - 1)
    check_int(node, "low", whole)
    check_int(node, "high", (int(node.low), whole[1]))


def _check_requantize(node: Requantize) -> None:
    check_format(node)
    channels = node.multiplier.shape
    if len(channels) != 1 or channels[0] == 0:
        raise GraphError(f"{label(node)}: multiplier must have shape (C,), not {channels}")
    check_array(node, "multiplier", channels, limits.MULTIPLIER)
    check_array(node, "bias", channels, limits.BIAS)
    check_array(node, "shift", channels, limits.REQUANT_SHIFT)
    least = -(1 << (node.bits - 1)) if node.signed else 0
    most = (1 << (node.bits - int(node.signed))) - 1
    check_int(node, "low", (least, most))
    check_int(node, "high", (int(node.low), most))


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
