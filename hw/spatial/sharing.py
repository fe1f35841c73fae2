"""Finds sums that rows of weights share, so that each is added once.

On UltraScale+ a row of tables with its carry chain adds three numbers as cheaply as two. So the
search looks for sums of two and of three terms that several rows have in common, and takes the one
that saves most first. The idea of shared sums is that of da4ml (arXiv 2507.04535). Additions of
three numbers and costs by exact ranges are ours.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations

import numpy as np

from hw.spatial.adders import AdderGraph, Addition, Term, interval_bits, row_tables
from hw.spatial.multiples import signed_digits

__all__ = ["adder_graph", "plain_sums"]

#: Settings of a search: tables that a term of a row costs, and tables that every row pays for each
#: bit by which a shared sum is wider than its terms. No setting is best for all matrices.
_SETTINGS = ((5.0, 0.3), (4.0, 0.8), (6.0, 0.0))
#: For each size, so many candidates for a shared sum have their saving worked out exactly.
_CANDIDATES = 512
#: So many inputs are searched together. With more inputs more is shared and the search is slower.
_BLOCK = 64
#: With more weights than this, only the first setting is searched.
_MANY = 6000
#: Shifts in a pattern's number are kept positive by this much.
_SHIFT = 32
_VALUES = 1 << 16


@dataclass
class _Row:
    """Terms of one sum: numbers of values, shifts, and signs of 1 or -1."""

    values: np.ndarray
    shifts: np.ndarray
    signs: np.ndarray


def adder_graph(
    weight: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    constants: Sequence[int] | None,
    multipliers: Sequence[int] | None = None,
) -> AdderGraph:
    """Additions for ``multipliers * (weight @ x) + constants``: the cheapest of greedy searches.

    weight : (rows, inputs), each 0 or a signed power of two.
    ranges : smallest and largest value of each input.
    constants : one for each row. None: sums keep their offsets, and the caller corrects them.
    multipliers : one for each row, positive and odd; None for 1 everywhere.

    The same arguments always give the same graph.
    """
    multipliers = [1] * len(weight) if multipliers is None else list(map(int, multipliers))
    settings = _SETTINGS if np.count_nonzero(weight) < _MANY else _SETTINGS[:1]
    graphs = [_search(weight, ranges, constants, multipliers, *one) for one in settings]
    return min(graphs, key=lambda graph: graph.tables)


def plain_sums(most: Sequence[Sequence[int]]) -> AdderGraph:
    """Additions of numbers that no two sums have in common.

    most : for each sum the largest value of each of its numbers; the smallest is 0.
    """
    largest = [high for row in most for high in row]
    none = [0] * len(largest)
    graph = AdderGraph(
        inputs=len(largest),
        ranges=[(0, high) for high in largest],
        depths=none.copy(),
        offsets=none.copy(),
    )
    first = 0
    for row in most:
        values = np.arange(first, first + len(row))
        zero = np.zeros(len(row), np.int64)
        graph.outputs.append(_total(graph, _Row(values, zero, zero + 1), 0))
        first += len(row)
    return graph


def _search(
    weight: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    constants: Sequence[int] | None,
    multipliers: Sequence[int],
    term_tables: float,
    growth: float,
) -> AdderGraph:
    none = [0] * len(ranges)
    graph = AdderGraph(
        inputs=weight.shape[1],
        ranges=[tuple(map(int, r)) for r in ranges],
        depths=none.copy(),
        offsets=none.copy(),
    )
    blocks = np.array_split(np.arange(weight.shape[1]), -(-weight.shape[1] // _BLOCK))
    parts = []
    for columns in blocks:
        rows = [_row(weights, columns) for weights in weight]
        # An odd number of terms in a block does not make the row's number odd.
        for odd_only in (False, True) if len(blocks) == 1 else (False,):
            while shared := _best_sums(graph, rows, odd_only, term_tables, growth):
                for pattern, users in shared:
                    _share(graph, rows, pattern, users)
        parts.append(rows)
    rows = [_joined(row) for row in zip(*parts, strict=True)]
    if constants is not None:
        plain = [multiplier == 1 for multiplier in multipliers]
        _absorb_constants(graph, rows, constants, plain)
    for number, (row, multiplier) in enumerate(zip(rows, multipliers, strict=True)):
        constant = None if constants is None else int(constants[number])
        if multiplier == 1 or not len(row.values):
            graph.outputs.append(_finish(graph, row, constant))
        else:
            graph.outputs.append(_multiplied(graph, row, multiplier, constant))
    return graph


def _joined(rows: Sequence[_Row]) -> _Row:
    return _Row(*(np.concatenate([getattr(row, f.name) for row in rows]) for f in fields(_Row)))


def _row(weights: np.ndarray, columns: np.ndarray) -> _Row:
    at = columns[np.flatnonzero(weights[columns])]
    magnitude = np.abs(weights[at])
    shifts = np.array([int(m).bit_length() - 1 for m in magnitude], np.int64)
    return _Row(at.astype(np.int64), shifts, np.sign(weights[at]).astype(np.int64))


@cache
def _choices(count: int, size: int) -> np.ndarray:
    """All (size, n) choices of ``size`` of ``count`` positions."""
    return np.array(list(combinations(range(count), size)), np.int64).reshape(-1, size).T


@dataclass(frozen=True)
class _Pattern:
    """A sum of two or three values, whatever its shift and sign as a whole."""

    values: tuple[int, ...]
    shifts: tuple[int, ...]
    signs: tuple[int, ...]

    def terms(self) -> tuple[Term, ...]:
        """The terms, the smallest shift being 0."""
        least = min(self.shifts)
        return tuple(
            Term(value, shift - least, sign < 0)
            for value, shift, sign in zip(self.values, self.shifts, self.signs, strict=True)
        )


def _numbers(rows: list[_Row], size: int, odd_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """The number of every pattern of ``size`` terms that occurs, and the row that it is in."""
    numbers, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for index, row in enumerate(rows):
        if odd_only and len(row.values) % 2 == 0:
            continue
        first, *others = _choices(len(row.values), size)
        number = row.values[first]
        for other in others:
            shift = row.shifts[other] - row.shifts[first] + _SHIFT
            opposite = (row.signs[other] != row.signs[first]).astype(np.int64)
            number = ((number * _VALUES + row.values[other]) * 2 * _SHIFT + shift) * 2 + opposite
        numbers.append(number)
        owners.append(np.full(len(number), index))
    return np.concatenate(numbers), np.concatenate(owners)


def _pattern(number: int, size: int) -> _Pattern:
    values, shifts, signs = [], [], []
    for _ in range(size - 1):
        number, opposite = divmod(number, 2)
        number, shift = divmod(number, 2 * _SHIFT)
        number, value = divmod(number, _VALUES)
        values.append(value)
        shifts.append(shift - _SHIFT)
        signs.append(-1 if opposite else 1)
    values, shifts = (number, *values[::-1]), (0, *shifts[::-1])
    signs = (1, *signs[::-1])
    # Low bits that come from one positive term alone need no addition.
    lowest = min(range(size), key=lambda index: shifts[index])
    return _Pattern(values, shifts, tuple(sign * signs[lowest] for sign in signs))


def _saving(
    graph: AdderGraph, pattern: _Pattern, tables: float, growth: float, count: int
) -> float:
    """Tables that ``count`` rows save by sharing a pattern in place of ``tables`` each."""
    terms = pattern.terms()
    scaled = [graph.scaled(term) for term in terms]
    low, high = (sum(ends[i] for ends in scaled) for i in (0, 1))
    widest = max(interval_bits(*ends) for ends in scaled)
    wider = interval_bits(low, high) - widest
    cost = row_tables(scaled, Addition(terms))
    return count * (tables - growth * wider) - cost


def _best_sums(
    graph: AdderGraph, rows: list[_Row], odd_only: bool, term_tables: float, growth: float
) -> list[tuple[_Pattern, list[int]]]:
    """The patterns that save most and touch no term twice, and the rows that have them.

    With ``odd_only`` pairs are sought only in rows with an odd number of terms. There each pair
    saves a whole addition: a row with its constant takes one addition for every two terms, rounded
    up.
    """
    found = []
    for size in (2, 3):
        odd = odd_only and size == 2
        numbers, owners = _numbers(rows, size, odd)
        if not numbers.size:
            continue
        order = np.argsort(numbers, kind="stable")
        distinct, starts, counts = np.unique(numbers[order], return_index=True, return_counts=True)
        often = np.argsort(-counts, kind="stable")[:_CANDIDATES]
        for at in often[counts[often] > 1]:
            pattern = _pattern(int(distinct[at]), size)
            terms = 2 if odd else size - 1
            saving = _saving(graph, pattern, terms * term_tables, growth, int(counts[at]))
            users = owners[order[starts[at] : starts[at] + counts[at]]]
            if saving > 0:
                found.append((-saving, pattern.values, pattern, users.tolist()))
    found.sort(key=lambda item: (item[0], item[1], item[2].shifts, item[2].signs))
    chosen, taken = [], set()
    for negative, _, pattern, users in found:
        if negative > found[0][0] + 1:
            break
        terms = {(row, value) for row in users for value in pattern.values}
        if not terms & taken:
            taken |= terms
            chosen.append((pattern, users))
    return chosen


def _share(graph: AdderGraph, rows: list[_Row], pattern: _Pattern, users: list[int]) -> None:
    """Replaces the pattern in its rows by one value."""
    value = graph.add(Addition(pattern.terms()))
    least = min(pattern.shifts)
    for index in users:
        row = rows[index]
        first = int(np.flatnonzero(row.values == pattern.values[0])[0])
        shift = row.shifts[first] + least  # the pattern's first shift is 0
        sign = row.signs[first] * pattern.signs[0]
        keep = ~np.isin(row.values, pattern.values)
        rows[index] = _Row(
            np.append(row.values[keep], value),
            np.append(row.shifts[keep], shift),
            np.append(row.signs[keep], sign),
        )


def _term(row: _Row, position: int) -> Term:
    value, shift, sign = (int(a[position]) for a in (row.values, row.shifts, row.signs))
    return Term(value, shift, sign < 0)


def _lacking(graph: AdderGraph, row: _Row, constant: int) -> int:
    """The number that is missing from a row's terms to give its exact sum."""
    return constant - sum(graph.offset(_term(row, i)) for i in range(len(row.values)))


def _absorb_constants(
    graph: AdderGraph, rows: list[_Row], constants: Sequence[int], plain: Sequence[bool]
) -> None:
    """Puts constants of rows with an odd number of terms into shared sums of two.

    Additions of three leave no free operand for the constant of such a row. Other rows with the
    shared sum correct it in their own constants, so none of them may be settled already. Rows that
    are not ``plain`` have their constant behind a multiplication.
    """
    users: list[set[int]] = [set() for _ in graph.ranges]
    for index, row in enumerate(rows):
        for value in row.values:
            users[value].add(index)
    for number in reversed(range(graph.inputs, len(graph.ranges))):
        for term in graph.additions[number - graph.inputs].terms:
            users[term.value] |= users[number]
    settled: set[int] = set()
    for index, row in enumerate(rows):
        lacking = _lacking(graph, row, int(constants[index]))
        if len(row.values) % 2 == 0 or not plain[index]:
            continue
        for term in sorted(_places(graph, row), key=lambda t: len(users[t.value])):
            if lacking % (1 << term.shift) == 0 and not users[term.value] & settled:
                share = lacking >> term.shift
                graph.set_constant(term.value, -share if term.inverted else share)
                break
        if plain[index] and not _lacking(graph, row, int(constants[index])):
            settled.add(index)


def _places(graph: AdderGraph, row: _Row) -> list[Term]:
    """Sums of two without a constant inside a row, at any depth, each as a term of the row."""
    found, seen = [], Counter()
    pending = [_term(row, position) for position in range(len(row.values))]
    while pending:
        term = pending.pop()
        seen[term.value] += 1
        if term.value < graph.inputs:
            continue
        addition = graph.additions[term.value - graph.inputs]
        if len(addition.terms) == 2 and not addition.constant:
            found.append(term)
        pending += [
            Term(inner.value, inner.shift + term.shift, inner.inverted ^ term.inverted)
            for inner in addition.terms
        ]
    # A value that occurs twice in a row counts there with the sum of both terms.
    return sorted((t for t in found if seen[t.value] == 1), key=lambda t: (t.shift, t.value))


def _finish(graph: AdderGraph, row: _Row, constant: int | None) -> Term | None:
    """The row's sum with its constant, if it has one; None for a row without a term."""
    lacking = 0 if constant is None else _lacking(graph, row, constant)
    return _total(graph, row, lacking)


def _multiplied(graph: AdderGraph, row: _Row, multiplier: int, constant: int | None) -> Term:
    """The row's sum times an odd multiplier above 1, digit by digit, and its constant."""
    total = _total(graph, row, 0)
    digits = signed_digits(multiplier)
    term = _finish(
        graph,
        _Row(
            np.full(len(digits), total.value),
            np.array([total.shift + shift for shift, _ in digits]),
            np.array([sign for _, sign in digits]),
        ),
        constant,
    )
    # All digits multiply one number, so the range of their sum is narrower than it looks.
    off = graph.offset(term) - graph.offset(total) * multiplier
    ends = [end * multiplier + off for end in graph.scaled(total)]
    low, high = graph.ranges[term.value]
    least, most = ends[0] >> term.shift, -(-ends[1] >> term.shift)
    graph.ranges[term.value] = (max(low, least), min(high, most))
    return term


def _total(graph: AdderGraph, row: _Row, constant: int) -> Term | None:
    """Adds up what is left of a row: the shallowest and narrowest terms first, three at a time."""
    heap = []

    def push(term: Term) -> None:
        bits = interval_bits(*graph.scaled(term))
        heapq.heappush(heap, (graph.depths[term.value], bits, len(graph.ranges), len(heap), term))

    for position in range(len(row.values)):
        push(_term(row, position))
    if not heap:
        return None
    operands = len(heap) + (constant != 0)
    while operands > 1 or heap[0][-1].inverted:
        # An even number of operands takes one addition of two: the first one, of the narrowest.
        count = 3 if operands % 2 and operands > 1 else min(2, operands)
        terms = tuple(heapq.heappop(heap)[-1] for _ in range(count - (constant != 0)))
        least = 0 if constant else min(term.shift for term in terms)
        lowered = tuple(Term(t.value, t.shift - least, t.inverted) for t in terms)
        push(Term(graph.add(Addition(lowered, constant)), least))
        constant = 0
        operands -= count - 1
    return heap[0][-1]
