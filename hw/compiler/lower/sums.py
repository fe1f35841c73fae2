"""Layers that sum and requantize: the range of their sums, and the correction of the array's."""

import numpy as np

from hw.compiler.constants import requantize_params
from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.contract.isa import Unit
from nbqnn_train.graph import Node, Requantize, TensorType

__all__ = ["summing_layer"]


def summing_layer(
    context: Context,
    node: Node,
    requantize: Requantize,
    sources: tuple[str, ...],
    unit: Unit,
    weight: np.ndarray,
    *,
    types: list[TensorType] | None = None,
    constant: np.ndarray | int = 0,
    **fields: object,
) -> Layer:
    """The layer that computes ``node`` and then ``requantize``.

    ``weight`` is the layer's field of that name; ``fields`` are further fields of the layer, whose
    ``out_shape`` is the result's if there is none.
    ``types`` are those of ``sources``, where they are not all that the node reads. ``constant``
    (C,) is added to the sums.

    Raises :class:`CompileError` for sums that do not fit the accumulators.
    """
    offsets = [context.offsets[source] for source in sources]
    types = types or [context.types[name] for name in node.inputs]
    # Channel-wise sums are multiplied by the radix from one pass over the window to the next.
    passes = weight.shape[1] if unit is Unit.SUM else 1
    radix = 1 << context.config.radix_bits
    digit_values = radix ** np.arange(passes, dtype=np.int64)[::-1].reshape(1, -1, 1, 1)
    correction, low, high = _sums(context, node.name, weight, digit_values, types, offsets)
    out_offset = context.offsets[requantize.name]
    out_shape = fields.pop("out_shape", context.shapes[requantize.name])
    channels = np.zeros(out_shape[0], np.int64)
    return Layer(
        name=node.name,
        sources=sources,
        target=requantize.name,
        unit=unit,
        weight=weight,
        kernel=weight.shape[2:],
        params=requantize_params(
            context.config,
            node.name,
            requantize,
            correction + constant + channels,
            low + channels,
            high + channels,
            out_offset,
        ),
        low=requantize.low - out_offset,
        high=requantize.high - out_offset,
        pad=-offsets[0],
        out_shape=out_shape,
        **fields,
    )


def _sums(
    context: Context,
    layer: str,
    weight: np.ndarray,
    digit_values: np.ndarray,
    types: list[TensorType],
    offsets: list[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per channel: true sum less the hardware's; smallest and largest sum of the hardware.

    A pass over the window counts ``digit_values`` times. With two operands, each has a row of the
    kernel.
    """
    correction = smallest = largest = 0
    for operand, (type_, offset) in enumerate(zip(types, offsets, strict=True)):
        own = weight if len(types) == 1 else weight[:, :, operand : operand + 1]
        positive = (np.maximum(own, 0) * digit_values).sum((1, 2, 3))
        negative = (np.minimum(own, 0) * digit_values).sum((1, 2, 3))
        inversions = 0
        if context.config.pe == "shift":
            inversions = ((own < 0) * digit_values).sum((1, 2, 3))
        # Padding is code 0 whether or not the tensor itself can hold it.
        low, high = min(type_.low, 0) - offset, max(type_.high, 0) - offset
        smallest = smallest + positive * low + negative * high - inversions
        largest = largest + positive * high + negative * low - inversions
        correction = correction + inversions + offset * (positive + negative)
    limit = 1 << (context.config.acc_bits - 1)
    bound = max(int(largest.max()), -int(smallest.min()) - 1)
    if bound >= limit:
        raise CompileError(
            f"layer {layer}: sums up to {bound} need {bound.bit_length() + 1} accumulator "
            f"bits, more than acc_bits = {context.config.acc_bits} of the configuration"
        )
    return correction, smallest, largest
