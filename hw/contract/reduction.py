"""How the products of one step are added: three terms at a time, without sign bits."""

from dataclasses import dataclass

from hw.contract.timing import ADDER_TERMS, LAST_TERMS, tree_levels

__all__ = [
    "Reduction",
    "reduction",
]


@dataclass(frozen=True)
class Reduction:
    """Additions level by level, until at most two terms are left for the accumulator.

    A product p of b bits is added as ``p + 2**(b - 1)``, which is p with its top bit inverted. So
    all terms are unsigned and none needs its sign extended. Together the products are too large by
    ``2**exponent - constant``, in every step.

    levels : for each level, for each of its sums: numbers of the terms that it adds. A sum of one
        term passes it on.
    widths : for each level, the bits of each sum.
    constant : an additional term behind the products; 0 for none.
    exponent : ``2**exponent`` must be subtracted from the sum of the last terms.
    """

    levels: tuple[tuple[tuple[int, ...], ...], ...]
    widths: tuple[tuple[int, ...], ...]
    constant: int
    exponent: int


def reduction(lanes: int, product_bits: int, acc_bits: int) -> Reduction:
    """The additions for ``lanes`` signed products, modulo ``2**acc_bits``."""
    added = lanes << (product_bits - 1)
    exponent = (added - 1).bit_length()
    while True:
        constant = (1 << exponent) - added
        highs = [(1 << product_bits) - 1] * lanes + [constant] * (constant != 0)
        levels, widths = _tree(highs, tree_levels(lanes), acc_bits)
        last = widths[-1] if widths else [high.bit_length() for high in highs]
        # The power of two is subtracted above the bits of the narrower of the last two terms.
        if len(last) == 1 or min(last) <= exponent:
            return Reduction(levels, widths, constant, exponent)
        exponent += 1


def _tree(highs: list[int], count: int, acc_bits: int) -> tuple[tuple, tuple]:
    """Levels and widths of :class:`Reduction` for terms that are at most ``highs``."""
    limit = (1 << acc_bits) - 1
    levels, widths = [], []
    for left in reversed(range(count)):
        # Terms are added as early as possible, while they are narrow; equal widths together.
        triples = min(len(highs) // ADDER_TERMS, (len(highs) - LAST_TERMS) // 2)
        pairs = max(0, len(highs) - 2 * triples - LAST_TERMS * ADDER_TERMS**left)
        order = sorted(range(len(highs)), key=lambda index: highs[index])
        sizes = [ADDER_TERMS] * triples + [2] * pairs
        sizes += [1] * (len(highs) - sum(sizes))
        groups, start = [], 0
        for size in sizes:
            groups.append(tuple(sorted(order[start : start + size])))
            start += size
        levels.append(tuple(groups))
        highs = [min(limit, sum(highs[index] for index in group)) for group in groups]
        widths.append(tuple(high.bit_length() for high in highs))
    return tuple(levels), tuple(widths)
