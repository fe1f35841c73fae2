"""Products of two tensors, element by element or with a factor for each channel."""

import numpy as np

from hw.compiler.constants import requantize_params
from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.contract.isa import Product, Unit
from nbqnn_train.graph import Requantize
from nbqnn_train.graph.operators import Multiply

__all__ = ["product"]


def product(context: Context, node: Multiply, requantize: Requantize) -> Layer:
    """The layer that multiplies one tensor by the digits of the other.

    The factor's offset costs nothing. That of the other tensor takes a second step for each digit,
    which reads padding, the lowest code, and counts negative.
    """
    config = context.config
    moved, factor = (context.memory_of(name) for name in node.operands)
    shared = context.shapes[moved] != context.shapes[factor]
    if not shared and context.offsets[moved] and not context.offsets[factor]:
        moved, factor = factor, moved
    wide = context.offsets[moved] != 0
    flags = Product.DIGITS
    if shared:
        flags |= Product.SHARED
    if context.offsets[factor]:
        flags |= Product.UNSIGNED
    low, high = _range(context, node)
    channels, _, width = context.shapes[moved]
    out_offset = context.offsets[requantize.name]
    ends = (np.full(channels, end, np.int64) for end in (low, high))
    return Layer(
        name=node.name,
        sources=(moved, factor),
        target=requantize.name,
        unit=Unit.SUM,
        weight=None,
        product=flags,
        passes=1 + config.factor_digits,
        # The second column lies behind every row's end.
        kernel=(1, 2 if wide else 1),
        dilation=(1, width),
        params=requantize_params(
            config,
            node.name,
            requantize,
            np.zeros(channels, np.int64),
            *ends,
            out_offset,
        ),
        low=requantize.low - out_offset,
        high=requantize.high - out_offset,
        pad=-context.offsets[moved],
        out_shape=context.shapes[requantize.name],
    )


def _range(context: Context, node: Multiply) -> tuple[int, int]:
    """The smallest and largest product.

    Raises :class:`CompileError` for products that do not fit the accumulators.
    """
    a, b = (context.types[name] for name in node.operands)
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = min(ends), max(ends)
    bits = max(high, -low - 1).bit_length() + 1
    if bits > context.config.acc_bits:
        raise CompileError(
            f"layer {node.name}: products up to {max(high, -low)} need {bits} accumulator bits, "
            f"more than acc_bits = {context.config.acc_bits} of the configuration"
        )
    return low, high
