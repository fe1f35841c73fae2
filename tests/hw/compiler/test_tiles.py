"""hw.compiler.tiles: rows of the tiles of a layer that waits for loads."""

from dataclasses import replace
from itertools import pairwise

import pytest
from numpy.testing import assert_equal

from hw.compiler import compile_graph, placement
from hw.compiler.tiles import tile_rows
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import Input, quantize_input, run_codes
from tests.hw.accelerators import VERILATED
from tests.hw.machine import run_program
from tests.hw.networks import Network, images

CONFIG = replace(VERILATED["shift_64"], name="deep", act_depth=8192)


@pytest.mark.parametrize("height", [1, 2, 7, 112, 113])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("ratio", [1e-9, 0.5, 0.9, 1.0, 7.0])
def test_rows_of_tiles(height, count, ratio):
    rows = tile_rows(height, count, ratio)
    assert sum(rows) == height
    assert min(rows) >= 1
    assert len(rows) <= count
    if ratio >= 1:
        assert set(rows[:-1]) <= {rows[0]}
        assert rows[-1] <= rows[0] == -(-height // count)
    else:
        # Each is rounded by less than a row.
        assert all(after < before + 1.5 for before, after in pairwise(rows))


def network(channels, filters):
    """An image that is loaded for twice as long as its layer computes, and a layer behind it."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(channels, 48, 48), bits=8, signed=True, exponent=0)
    net.conv("layer", (filters, channels, 2, 2), 3, stride=(2, 2))
    net.requantize("middle", 8, True)
    net.conv("last", (8, filters, 2, 2), 3, stride=(2, 2))
    return net.requantize("out", 8, True).graph()


@pytest.mark.parametrize(("channels", "filters"), [(4, 8), (8, 8), (16, 4)])
def test_a_layer_that_waits_for_loads(channels, filters, monkeypatch):
    """Falling tiles take fewer cycles than equal ones, and compute the same."""
    graph = network(channels, filters)
    falling = compile_graph(graph, CONFIG)
    codes = quantize_input(graph.nodes[0], images(graph, 1))
    assert_equal(run_program(falling, {"image": codes})["out"], run_codes(graph, {"image": codes}))
    with monkeypatch.context() as patch:
        patch.setattr(placement, "tile_rows", lambda height, count, _=1: tile_rows(height, count))
        equal = compile_graph(graph, CONFIG)
    assert estimate_cycles(falling).cycles < 0.99 * estimate_cycles(equal).cycles
