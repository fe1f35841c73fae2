"""Networks as circuits beside configurations: which fit, and which are worth having."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hw.boards.presets import load_config
from hw.explore.candidates import Candidate
from hw.explore.circuits import common_front
from hw.spatial.candidates import find_circuits
from hw.spatial.circuit import Circuit
from tests.hw.spatial.maps import Maps

CIRCUIT = Circuit(interval=1, cycles=64, latency=80, clock_mhz=250, lut=20_000)
CONFIG = Candidate(
    config=load_config(preset="digits"),
    cycles=1_774,
    macs=450_000,
    lut=15_628,
    ff=15_000,
    bram36=40.0,
    dsp=0,
)


@pytest.fixture(scope="module")
def graph():
    maps = Maps(8, (2, 6, 6))
    a = maps.conv("x", 6, (3, 3), padding=(1, 1, 1, 1))
    maps.linear(maps.average(a), 4)
    return maps.graph()


@pytest.fixture(scope="module")
def found(graph):
    return find_circuits(graph, 100_000, 250).found


def test_slower_ones_are_smaller(found):
    assert len(found) > 1
    assert (found[0].interval, found[0].cycles) == (1, 36)
    assert all(a.lut > b.lut and a.cycles < b.cycles for a, b in pairwise(found))


def test_what_does_not_fit_is_left_out_and_said(graph, found):
    fitting = find_circuits(graph, found[0].lut - 1, 250)
    assert fitting.found == found[1:]
    assert "look-up tables" in fitting.reason
    none = find_circuits(graph, 10, 250)
    assert none.found == ()
    assert "layer n1: with it the circuit takes about" in none.reason


def test_large_networks_are_tried_where_rows_take_turns():
    maps = Maps(9, (90, 1, 1))
    maps.linear(maps.linear("x", 120), 30)
    large = find_circuits(maps.graph(), 100_000, 250)
    assert [one.interval for one in large.found] == [32, 128]
    scaled = Maps(9, (90, 1, 1), scale=True)
    scaled.linear(scaled.linear("x", 120), 30)
    reason = find_circuits(scaled.graph(), 100_000, 250).reason
    assert "up to 8,000 are looked at as a circuit" in reason


def test_a_clock_that_no_addition_reaches_is_said(graph):
    assert "one addition" in find_circuits(graph, 100_000, 2000).reason


def test_the_front_has_both():
    assert common_front([CONFIG], [CIRCUIT]) == ({CONFIG.config.digest}, {1})
    smaller = replace(CIRCUIT, lut=15_000)
    assert common_front([CONFIG], [CIRCUIT, replace(smaller, interval=2)]) == (set(), {2})
    assert common_front([CONFIG], []) == ({CONFIG.config.digest}, set())
