"""Makes codes of the weights of other tools: zero or signed powers of two of a common step."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import WEIGHT_BITS, max_weight

__all__ = ["Weights", "exact_log2", "exact_weights", "rounded_weights"]


@dataclass(frozen=True)
class Weights:
    """Real weights ``codes * 2**exponent[c] * factor[c]`` of output channel c.

    factor : from 1 to 2, the channel's step divided by the power of two below it.
    """

    codes: np.ndarray
    exponent: np.ndarray
    bits: int
    factor: tuple[Fraction, ...]


def exact_log2(value: Fraction) -> int | None:
    """``log2(value)`` where that is an integer, else None."""
    top, bottom = value.numerator, value.denominator
    if value <= 0 or top & (top - 1) or bottom & (bottom - 1):
        return None
    return top.bit_length() - bottom.bit_length()


def exact_weights(what: str, real: np.ndarray) -> Weights:
    """Codes of ``real`` (Cout, ...), any finite floats.

    The smallest weight of each channel is its step. Raises :class:`GraphError` naming ``what`` and
    the first weight that is not zero or a signed power of two of the step.
    """
    real = np.asarray(real, dtype=np.float64)
    rows = real.reshape(len(real), -1)
    mantissa, exponent = np.frexp(np.abs(rows))
    smallest = np.where(rows != 0, np.abs(rows), np.inf).min(axis=1)
    smallest = np.where(np.isinf(smallest), 1.0, smallest)
    common, lowest = np.frexp(smallest)
    bad = (rows != 0) & (mantissa != common[:, np.newaxis])
    if bad.any():
        flat = int(np.argmax(bad))
        at = [int(i) for i in np.unravel_index(flat, real.shape)]
        step = float(smallest[flat // rows.shape[1]])
        value = float(rows.reshape(-1)[flat])
        raise GraphError(
            f"{what}: weight{at} is {value:g}, which is {value / step:.4g} times the smallest of "
            "its channel; it must be 0 or a signed power of two times that: train with such "
            "weights, or let them be rounded (--round-weights 4)"
        )
    power = np.where(rows != 0, exponent - lowest[:, np.newaxis], 0)
    span = int(power.max(initial=0))
    for bits in range(WEIGHT_BITS[0], WEIGHT_BITS[1] + 1):
        if 1 << span <= max_weight(bits):
            break
    else:
        raise GraphError(
            f"{what}: weights of one channel span {span} powers of two; at most 30 are allowed"
        )
    codes = np.where(rows != 0, np.sign(rows).astype(np.int64) << power.astype(np.int64), 0)
    return Weights(
        codes=codes.reshape(real.shape),
        exponent=lowest.astype(np.int64) - 1,
        bits=bits,
        factor=tuple(Fraction(float(m)) * 2 for m in common),
    )


def rounded_weights(real: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """The nearest weights of ``bits``, and their error as a share: its root mean square divided by
    that of ``real``.

    The step of each output channel is the best of sixteen steps within a factor of two.
    """
    real = np.asarray(real, dtype=np.float64)
    rows = real.reshape(len(real), -1)
    levels = np.concatenate([[0.0], np.exp2(np.arange((1 << (bits - 1)) - 1))])
    largest = np.abs(rows).max(axis=1, keepdims=True)
    best, error = np.zeros_like(rows), np.full((len(rows), 1), np.inf)
    for part in range(16):
        # float32, so that codes times the step keep its mantissa.
        step = (largest / levels[-1] * 2.0 ** (-part / 16)).astype(np.float32).astype(np.float64)
        size = np.abs(rows) / np.where(step > 0, step, 1)
        code = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, size)]
        tried = np.sign(rows) * code * step
        miss = ((tried - rows) ** 2).sum(axis=1, keepdims=True)
        best = np.where(miss < error, tried, best)
        error = np.minimum(miss, error)
    total = float((rows**2).sum())
    return best.reshape(real.shape), float(np.sqrt(error.sum() / total)) if total else 0.0
