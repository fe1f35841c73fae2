"""A network of the size that jet tagging has: 3-bit weights as good as real ones."""

import numpy as np
import pytest

from hw.spatial.build import generate_spatial
from sim.spatial.simulate import simulate_spatial
from tests.hw.spatial.jets import accuracy, features, trained
from tests.nightly import NIGHTLY

SIZES = (16, 64, 32, 32, 5)
_LOST = 0.005


@pytest.fixture(scope="module")
def networks():
    return trained(SIZES, epochs=10, samples=6000)


@pytest.mark.timeout(300)
def test_three_bits_lose_half_a_point_at_most(networks):
    x, classes = features(20_000, 2)
    real, graph = (accuracy(network, x, classes) for network in networks)
    assert real > 0.9
    assert graph > real - _LOST
    # The classes mean something: those of others are guessed by chance.
    assert accuracy(networks[1], x, np.roll(classes, 1)) < 0.3


@pytest.mark.timeout(600)
def test_the_circuit_says_what_the_graph_says(request, tmp_path):
    """The whole network where time allows; its additions take a minute to find."""
    small = (16, 24, 12, 5)
    graph = request.getfixturevalue("networks")[1] if NIGHTLY else trained(small, 1, 2000)[1]
    generate_spatial(graph, tmp_path / "build", 200)
    result = simulate_spatial(tmp_path / "build", features(500, 3)[0])
    assert (result.images, result.mismatches) == (500, 0)
    assert result.cycles_per_image == 1.0
