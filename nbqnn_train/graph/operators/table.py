"""Functions of one value, as a table from the input's codes to the output's."""

from dataclasses import dataclass

import numpy as np

from .. import limits
from ..checks import check_activation, check_format, label
from ..errors import GraphError
from ..intervals import Interval, Step
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["TABLE", "Table", "table_codes"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Unary):
    """``out = table[code - lowest code]``: any function of one activation.

    table : (2**bits of the input,), a code of the output for every code of the input, the lowest
        first. Or (2**k + 1,) with k below the input's bits: *knots* between which the output is
        interpolated. With ``s = bits - k``, ``d = code - lowest code``, ``i = d >> s`` and
        ``f = d mod 2**s`` it is ``table[i] + (((table[i + 1] - table[i]) * f + half(s)) >> s)``.
    bits, signed, exponent : the format of the output, which holds every entry.
    """

    table: np.ndarray
    bits: int
    signed: bool
    exponent: int


def table_codes(table: np.ndarray, bits: int) -> np.ndarray:
    """The output's code for each code of an input of ``bits``: (2**bits,), int64."""
    if table.size == 1 << bits:
        return table
    shift = bits - (table.size - 1).bit_length() + 1
    distance = np.arange(1 << bits)
    knot, fraction = distance >> shift, distance & ((1 << shift) - 1)
    rise = table[knot + 1] - table[knot]
    return table[knot] + ((rise * fraction + ((1 << shift) >> 1)) >> shift)


def _check(node: Table) -> None:
    check_format(node)
    largest = (1 << limits.ACT_BITS[1]) + 1
    if node.table.ndim != 1 or not 2 <= node.table.size <= largest:
        raise GraphError(
            f"{label(node)}: table must be a vector of 2..{largest} codes, "
            f"not of shape {node.table.shape}"
        )
    least = -(1 << (node.bits - 1)) if node.signed else 0
    most = (1 << (node.bits - int(node.signed))) - 1
    bad = (node.table < least) | (node.table > most)
    if bad.any():
        at = int(np.argmax(bad))
        raise GraphError(
            f"{label(node)}: table[{at}] must be in {least}..{most}, the range of its output, "
            f"not {int(node.table[at])}"
        )


def _infer(node: Table, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    size, whole = node.table.size, 1 << source.bits
    knots = size - 1
    if size != whole and not (knots & (knots - 1) == 0 and knots < whole):
        raise GraphError(
            f"{label(node)}: table must have {whole} entries, one for each code of "
            f"{node.input!r}, or 2**k + 1 knots of less, not {size}"
        )
    return TensorType(
        shape=source.shape, bits=int(node.bits), signed=node.signed, exponent=int(node.exponent)
    )


def _bound(node: Table, types: dict[str, TensorType], source: Interval) -> Step:
    code = types[node.input]
    codes = table_codes(node.table, code.bits)
    spans = np.stack([source.low, source.high]) - code.low
    distinct, channel = np.unique(spans, axis=1, return_inverse=True)
    parts = [codes[first : last + 1] for first, last in distinct.T]
    low, high = (np.array([end(part) for part in parts]) for end in (np.min, np.max))
    return Step(values=Interval(low[channel.reshape(-1)], high[channel.reshape(-1)]))


def _step(node: Table, source: TensorType, dtype, batch: int, x: np.ndarray) -> np.ndarray:
    codes = table_codes(node.table, source.bits).astype(x.dtype)
    return codes[x.astype(np.int64) - source.low]


TABLE = {Table: Operator(check=_check, infer=_infer, bound=_bound, step=_step)}
