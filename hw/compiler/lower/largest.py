"""The number of the largest channel, in layers of the array.

Halves of the channels are compared until one channel is left, the maximum: of ``a`` and ``b`` the
larger one is ``b + max(a - b, 0)``. Then each channel that equals it gives 1, each behind the first
of those gives 1, too, and the number is how many give 0.
"""

from dataclasses import replace

import numpy as np

from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context, as_map
from hw.compiler.lower.sums import summing_layer
from hw.contract.isa import Unit
from hw.contract.words import stored_offset
from nbqnn_train.graph import Requantize, TensorType
from nbqnn_train.graph.operators import ArgMax

__all__ = ["arg_max"]


def arg_max(context: Context, node: ArgMax) -> Layer:
    """Adds the layers before the last one; returns the last one, which gives the numbers."""
    source = context.memory_of(node.input)
    type_ = context.types[node.input]
    count, *size = as_map(type_.shape)
    bit = TensorType(shape=(count, *size), bits=2, signed=False, exponent=0)
    largest, left, level = source, count, 0
    while left > 1:
        level += 1
        largest, left = _halved(context, node, largest, left, level)
    weight = np.zeros((count, count, 2, 1), np.int64)
    weight[np.arange(count), np.arange(count), 0] = 1
    weight[:, 0, 1] = -1
    equal = _layer(context, node, "equal", (source, largest), weight, bit, high=1, constant=1)
    weight = np.tri(count, dtype=np.int64)[..., np.newaxis, np.newaxis]
    behind = _layer(context, node, "behind", (equal.target,), weight, bit, high=1)
    context.layers += [equal, behind]
    weight = np.full((1, count, 1, 1), -1, np.int64)
    type_ = context.types[node.name]
    last = count - 1
    return _layer(context, node, "", (behind.target,), weight, type_, high=last, constant=count)


def _halved(context: Context, node: ArgMax, source: str, count: int, level: int) -> tuple[str, int]:
    """Adds the layers of the larger one of two channels each; their result and its channels.

    An odd number leaves one channel as it is.
    """
    type_ = context.types[node.input]
    half, pairs = (count + 1) // 2, count // 2
    shape = (half, *as_map(type_.shape)[1:])
    own = np.arange(half)
    weight = np.zeros((half, count, 1, 1), np.int64)
    weight[own[:pairs], own[:pairs]] = 1
    weight[own[:pairs], half + own[:pairs]] = -1
    positive = TensorType(shape=shape, bits=type_.bits, signed=False, exponent=type_.exponent)
    above = _layer(context, node, f"above{level}", (source,), weight, positive)
    weight = np.zeros((half, count, 2, 1), np.int64)
    weight[own, np.where(own < pairs, half + own, own), 0] = 1
    weight[own, own, 1] = 1
    sources = (source, above.target)
    larger = _layer(
        context, node, f"larger{level}", sources, weight, replace(type_, shape=shape), low=type_.low
    )
    context.layers += [above, larger]
    return larger.target, half


def _layer(
    context: Context,
    node: ArgMax,
    part: str,
    sources: tuple[str, ...],
    weight: np.ndarray,
    type_: TensorType,
    *,
    low: int = 0,
    high: int | None = None,
    constant: int = 0,
) -> Layer:
    """A layer of 1x1 sums, of one source or two, plus ``constant``, in ``low`` to ``high``.

    Its result is the node's where ``part`` is empty.
    """
    target = node.name
    if part:
        target = context.new_name(f"{node.name}.{part}")
        context.types[target], context.shapes[target] = type_, type_.shape
        context.offsets[target] = stored_offset(context.config, type_)
    ones = np.ones(len(weight), np.int64)
    limits = Requantize(
        name=target,
        input=target,
        multiplier=ones,
        bias=constant * ones,
        shift=0 * ones,
        bits=type_.bits,
        signed=type_.signed,
        exponent=type_.exponent,
        low=low,
        high=type_.high if high is None else high,
    )
    types = [context.types[name] for name in sources]
    named = replace(node, name=target)
    return summing_layer(context, named, limits, sources, Unit.ARRAY, weight, types=types)
