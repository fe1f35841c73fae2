"""What a tensor of the model is before it is quantized: a tensor of the graph, changed element by
element, pooled, joined, flattened or padded.

Max pooling, joining, flattening and padding with zeros are kept as they are. So a quantizer behind
them can be moved in front of them, where the sums are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

from nbqnn_train.graph.errors import GraphError

from .lines import Chain, Column

__all__ = ["Flat", "Join", "Leaf", "Pad", "Pool", "Tail", "Value", "elementwise", "per_leaf"]


@dataclass(frozen=True, eq=False)
class Leaf:
    """``chain`` applied to the integers of tensor ``source`` of the graph.

    With ``real`` the source is an input of the model that is not quantized yet.
    """

    source: str
    shape: tuple[int, ...]
    chain: Chain
    real: bool = False


@dataclass(frozen=True, eq=False)
class Pool:
    """The largest number in each window."""

    inner: "Value"
    window: dict
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Flat:
    """(C, H, W) as (C*H*W,)."""

    inner: "Value"

    @property
    def shape(self) -> tuple[int, ...]:
        return (prod(self.inner.shape),)


@dataclass(frozen=True, eq=False)
class Join:
    """Parts joined along the channels."""

    parts: tuple["Value", ...]

    @property
    def shape(self) -> tuple[int, ...]:
        first = self.parts[0].shape
        return (sum(part.shape[0] for part in self.parts), *first[1:])


@dataclass(frozen=True, eq=False)
class Pad:
    """Zeros (top, left, bottom, right) around maps."""

    inner: "Value"
    padding: tuple[int, int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        channels, height, width = self.inner.shape
        top, left, bottom, right = self.padding
        return (channels, height + top + bottom, width + left + right)


@dataclass(frozen=True, eq=False)
class Tail:
    """``inner`` after a final.

    tensor : the tensor of the model before the final.
    """

    inner: "Value"
    kind: str
    tensor: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape


Value = Leaf | Pool | Flat | Join | Pad | Tail


def per_leaf(what: str, value: Value, column: tuple, change: Callable[[Leaf, tuple], Value]):
    """``value`` with every leaf replaced by ``change`` of the leaf and its entries of ``column``.

    column : one entry, or one per channel (feature) of ``value``.
    """
    if isinstance(value, Leaf):
        return change(value, column)
    if isinstance(value, Join):
        parts, start = [], 0
        for part in value.parts:
            own = column if len(column) == 1 else column[start : start + part.shape[0]]
            parts.append(per_leaf(what, part, own, change))
            start += part.shape[0]
        return Join(tuple(parts))
    if isinstance(value, Flat) and len(column) > 1:
        channels = value.inner.shape[0]
        each = prod(value.inner.shape[1:])
        rows = [column[i * each : (i + 1) * each] for i in range(channels)]
        if any(entry != row[0] for row in rows for entry in row):
            raise GraphError(
                f"{what}: constants must be equal within a channel of the maps that were flattened"
            )
        column = tuple(row[0] for row in rows)
    if isinstance(value, Tail):
        raise GraphError(f"{what}: nothing but the end of the network may follow a {value.kind}")
    return replace(value, inner=per_leaf(what, value.inner, column, change))


def elementwise(what: str, value: Value, operation: str, column: Column | tuple) -> Value:
    """``value`` after an operation of :class:`Chain` (``times``, ``plus``, ``clip``, ``round``).

    column : factors or addends; for ``clip`` the two limits as one entry, for ``round`` the mode.
    """
    if operation == "times" and _has(value, Pool) and min(column) < 0:
        raise GraphError(f"{what}: a negative factor may not follow a MaxPool without a Quant")
    if _has(value, Pad) and not _keeps_zero(operation, column):
        raise GraphError(f"{what}: zeros that a Pad put there must stay zeros until a Quant")

    def change(leaf: Leaf, own: tuple) -> Leaf:
        if operation == "clip":
            chain = leaf.chain.clip(*own[0])
        elif operation == "round":
            chain = leaf.chain.round(own[0], integers=not leaf.real)
        else:
            chain = getattr(leaf.chain, operation)(own)
        return replace(leaf, chain=chain)

    return per_leaf(what, value, column, change)


def _has(value: Value, kind: type) -> bool:
    if isinstance(value, kind):
        return True
    if isinstance(value, Join):
        return any(_has(part, kind) for part in value.parts)
    return not isinstance(value, Leaf) and _has(value.inner, kind)


def _keeps_zero(operation: str, column: tuple) -> bool:
    if operation == "plus":
        return not any(column)
    if operation == "clip":
        low, high = column[0]
        zero = Fraction(0)
        return (low is None or low <= zero) and (high is None or high >= zero)
    return column[0] != "BIPOLAR"
