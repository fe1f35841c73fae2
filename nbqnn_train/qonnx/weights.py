"""From the weights of a foreign network to codes: zero or signed powers of two on a common step."""

from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import WEIGHT_BITS, max_weight

__all__ = ["power_of_two", "weight_codes"]


def power_of_two(value: Fraction) -> int | None:
    """``log2(value)`` where that is an integer, else None."""
    top, bottom = value.numerator, value.denominator
    if value <= 0 or top & (top - 1) or bottom & (bottom - 1):
        return None
    return top.bit_length() - bottom.bit_length()


def weight_codes(what: str, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights of the graph, an exponent per output channel to add, and the bits that they take.

    codes : (Cout, ...), any finite floats; the weights up to a factor per channel.

    Each channel is divided by its own power of two, so that its smallest weight is one. Raises
    :class:`GraphError` naming ``what`` and the first weight that is not zero or a power of two.
    """
    mantissa, exponent = np.frexp(np.asarray(codes, dtype=np.float64))
    bad = (codes != 0) & (np.abs(mantissa) != 0.5)
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), codes.shape)
        raise GraphError(
            f"{what}: weight{[int(i) for i in at]} is {float(codes[at])} steps; it must be 0 or a "
            "signed power of two"
        )
    axes = tuple(range(1, codes.ndim))
    lowest = np.where(codes != 0, exponent, np.iinfo(np.int32).max).min(axis=axes)
    lowest = np.where(lowest == np.iinfo(np.int32).max, 1, lowest)
    power = exponent - lowest.reshape(-1, *(1,) * len(axes))
    span = int(np.where(codes != 0, power, 0).max())
    for bits in range(WEIGHT_BITS[0], WEIGHT_BITS[1] + 1):
        if 1 << span <= max_weight(bits):
            break
    else:
        raise GraphError(
            f"{what}: weights of one channel span {span} powers of two; at most 30 are allowed"
        )
    weight = np.where(codes != 0, np.sign(codes).astype(np.int64) << np.maximum(power, 0), 0)
    # frexp's mantissa is one half, so its exponent is log2 + 1.
    return weight, lowest.astype(np.int64) - 1, bits
