"""Adder graphs: sums are those of the matrix, whatever is shared; costs and refusals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.spatial.adders import AdderGraph, Addition, Term, interval_bits, lone_bits
from hw.spatial.multiples import signed_digits
from hw.spatial.sharing import adder_graph
from tests.nightly import examples


def _weights(random: np.random.Generator, rows: int, inputs: int) -> np.ndarray:
    magnitude = random.choice([0, 1, 2, 4], (rows, inputs), p=[0.2, 0.35, 0.3, 0.15])
    return magnitude * random.choice([-1, 1], (rows, inputs))


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_sums_are_those_of_the_matrix(seed, rows, inputs, signed):
    random = np.random.default_rng(seed)
    weight = _weights(random, rows, inputs)
    constants = random.integers(-500, 500, rows) * random.integers(0, 2, rows)
    low, high = (-128, 127) if signed else (0, 255)
    graph = adder_graph(weight, [(low, high)] * inputs, constants)
    x = random.choice([low, high, 0, 1, high - 1], (20, inputs))
    expected = x @ weight.T + constants
    empty = ~weight.any(axis=1)
    assert np.array_equal(graph.evaluate(x)[:, ~empty], expected[:, ~empty])
    assert [out is None for out in graph.outputs] == empty.tolist()


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_value_leaves_its_range_and_none_is_ever_four(seed):
    random = np.random.default_rng(seed)
    weight = _weights(random, 10, 9)
    graph = adder_graph(weight, [(-8, 7)] * 9, random.integers(-50, 50, 10))
    x = random.choice([-8, 7], (64, 9))
    values = list(x.T)
    for number, addition in enumerate(graph.additions, graph.inputs):
        operands = len(addition.terms) + (addition.constant != 0)
        assert 1 <= operands <= 3
        assert min(term.shift for term in addition.terms) == 0 or addition.constant
        parts = [
            (~values[t.value] if t.inverted else values[t.value]) << t.shift for t in addition.terms
        ]
        values.append(sum(parts) + addition.constant)
        low, high = graph.ranges[number]
        assert low <= values[-1].min()
        assert values[-1].max() <= high


def test_what_rows_share_is_added_once():
    """Two equal rows, and one that is their negative times two: three terms, one addition."""
    weight = np.array([[1, 2, -1], [1, 2, -1], [-2, -4, 2]])
    graph = adder_graph(weight, [(0, 255)] * 3, [0, 0, 0])
    three = [a for a in graph.additions if len(a.terms) == 3]
    assert len(three) == 1
    x = np.array([[3, 5, 250], [0, 0, 255]])
    assert np.array_equal(graph.evaluate(x), x @ weight.T)


def test_the_same_matrix_gives_the_same_graph():
    weight = _weights(np.random.default_rng(3), 16, 16)
    graphs = [adder_graph(weight, [(0, 255)] * 16, range(16)) for _ in range(2)]
    assert graphs[0].additions == graphs[1].additions
    assert graphs[0].outputs == graphs[1].outputs


def test_sharing_saves_a_quarter_of_the_tables_of_a_dense_layer():
    """Beside the same rows, each added up on its own."""
    weight = _weights(np.random.default_rng(5), 16, 32)
    ranges = [(0, 255)] * 32
    together = adder_graph(weight, ranges, [0] * 16).tables
    alone = sum(adder_graph(weight[i : i + 1], ranges, [0]).tables for i in range(16))
    assert together < 0.75 * alone


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 8), st.booleans())
def test_multiples_are_those_of_the_sums(seed, rows, inputs, exact):
    """Without constants, sums are off by what the graph says; no value leaves its range."""
    random = np.random.default_rng(seed)
    weight = _weights(random, rows, inputs)
    multipliers = random.integers(0, 1 << 15, rows) * 2 + 1
    constants = random.integers(-99, 99, rows)
    graph = adder_graph(weight, [(-8, 7)] * inputs, constants if exact else None, multipliers)
    x = random.choice([-8, 7, 0, 3], (30, inputs))
    found, sums = graph.evaluate(x), x @ weight.T * multipliers
    for row, out in enumerate(graph.outputs):
        if out is not None:
            off = constants[row] if exact else graph.offset(out)
            assert np.array_equal(found[:, row], sums[:, row] + off)
            low, high = graph.scaled(out)
            assert low <= found[:, row].min()
            assert found[:, row].max() <= high


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(1, 1 << 20))
def test_signed_digits_are_few(number):
    digits = signed_digits(number)
    assert sum(sign << shift for shift, sign in digits) == number
    assert {sign for _, sign in digits} <= {-1, 1}
    shifts = [shift for shift, _ in digits]
    assert all(b - a >= 2 for a, b in pairwise(shifts))
    assert len(digits) <= bin(number).count("1")


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 0, 0), (0, 1, 1), (0, 255, 8), (-1, 0, 1), (-128, 127, 8), (-129, 0, 9), (-5, -3, 4)],
)
def test_bits_of_an_interval(low, high, bits):
    assert interval_bits(low, high) == bits


def test_low_bits_of_a_lone_term_are_no_addition():
    assert lone_bits(Addition((Term(0), Term(1, 2)))) == 2
    assert lone_bits(Addition((Term(0), Term(1, 2), Term(2, 1)))) == 1
    assert lone_bits(Addition((Term(0, 0, True), Term(1, 2)))) == 0
    assert lone_bits(Addition((Term(0), Term(1, 2)), 5)) == 0


def test_an_inverted_term_is_one_too_little():
    graph = AdderGraph(inputs=1, ranges=[(0, 3)], depths=[0], offsets=[0])
    graph.add(Addition((Term(0, 1, True),)))
    assert graph.ranges[-1] == (-8, -2)
    assert graph.offsets[-1] == -2
