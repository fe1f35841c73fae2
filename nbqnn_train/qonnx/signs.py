"""Moves signs of channels into the weights before them, or into a layer of their own."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.nodes import Conv2d, Linear

from .lines import Chain, columns
from .reader import Reader

__all__ = ["each_channel", "rising"]

#: Most features of a vector whose signs a layer of its own may change.
_MAX_TURNED = 1 << 10


def rising(
    reader: Reader, what: str, source: str, chain: Chain, channels: int
) -> tuple[str, Chain]:
    """A source and a chain without negative scales. Signs go to the source, zeros if possible."""
    scale = chain.first.scale
    if min(scale) >= 0 and (min(scale) > 0 or not _turns(reader, source)):
        return source, chain
    signs = np.array([(s > 0) - (s < 0) for s in _column(scale, channels)], dtype=np.int64)
    turned = _turned(reader, source, signs)
    if turned is None:
        channel = int(np.argmin(signs))
        raise GraphError(
            f"{what}: scale of channel {channel} must be positive, "
            f"not {float(_column(scale, channels)[channel])}: it follows an addition or average"
        )
    positive = columns(lambda s: abs(s) if s else Fraction(1), scale)
    return turned, chain.with_first(replace(chain.first, scale=positive))


def _turns(reader: Reader, source: str) -> bool:
    return isinstance(reader.nodes[source], (Conv2d, Linear))


def _turned(reader: Reader, source: str, signs: np.ndarray) -> str | None:
    """A node whose channels are those of ``source`` times ``signs``; None if impossible."""
    node = reader.nodes[source]
    if isinstance(node, (Conv2d, Linear)):
        weight = node.weight * signs.reshape(-1, *(1,) * (node.weight.ndim - 1))
        for other in reader.nodes.values():
            same = type(other) is type(node) and other.input == node.input
            if same and replace(node, name=other.name, weight=weight) == other:
                return other.name
        return reader.put(replace(node, name=reader.free(source), weight=weight))
    kind = reader.types[source]
    small = len(kind.shape) == 3 or kind.shape[0] <= _MAX_TURNED
    return each_channel(reader, source, signs) if not kind.is_accumulator and small else None


def each_channel(reader: Reader, source: str, factors: np.ndarray, padding=(0, 0, 0, 0)) -> str:
    """A layer whose sums have one term: each channel of ``source`` times 1, -1 or 0."""
    shape = reader.types[source].shape
    common = {"input": source, "weight_bits": 2, "acc_bits": ACC_BITS[1]}
    exponent = np.zeros(shape[0], dtype=np.int64)
    name = reader.free(f"{source}_each")
    if len(shape) == 3:
        weight = factors.reshape(-1, 1, 1, 1)
        node = Conv2d(
            name=name,
            weight=weight,
            weight_exponent=exponent,
            groups=shape[0],
            padding=padding,
            **common,
        )
    else:
        node = Linear(name=name, weight=np.diag(factors), weight_exponent=exponent, **common)
    return reader.put(node)


def _column(values: tuple, channels: int) -> tuple:
    return values * channels if len(values) == 1 else values
