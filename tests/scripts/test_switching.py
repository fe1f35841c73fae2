"""What an element takes of a network: the interpreter's sums, in the order of the accelerator."""

import numpy as np
import pytest

from nbqnn_train.graph import Conv2d, Graph, Input, NbqnnError, Requantize, run
from scripts.switching_steps import finer, full_precision, layer_steps, without_zeros

LANES, PIXELS = 4, 3


def network(weight_bits: int = 3) -> Graph:
    drawn = np.random.default_rng(5)
    ones = np.ones(8, np.int64)
    return Graph(
        nodes=(
            Input(name="x", shape=(8, 5, 6), bits=8, signed=False, exponent=-8),
            Conv2d(
                name="part.conv",
                input="x",
                weight=drawn.choice([0, 1, -1, 2, -2, 4, -4], (8, 8, 3, 3)),
                weight_bits=weight_bits,
                weight_exponent=0 * ones,
                padding=(1, 1, 1, 1),
                acc_bits=20,
            ),
            Requantize(
                name="y",
                input="part.conv",
                multiplier=ones,
                bias=100 * ones,
                shift=5 * ones,
                bits=8,
                signed=False,
                exponent=-3,
                low=0,
                high=255,
            ),
        ),
        outputs=("y",),
    )


IMAGES = np.random.default_rng(6).random((2, 8, 5, 6))


def test_sums_are_every_third_accumulator_of_a_filter():
    graph = network()
    steps, places = layer_steps(graph, IMAGES, LANES, PIXELS, filters=3, seed=1)
    weight = graph["part.conv"].weight
    maps = run(graph, IMAGES, trace=True)["part.conv"].reshape(2, 8, -1)
    # The stored codes lack 128.
    whole = steps.sums + 128 * np.array([weight[filter_].sum() for _, filter_ in places])
    assert len(places) == 2 * 3 * 10
    for part in range(6):
        own = slice(10 * part, 10 * part + 10)
        (filter_,) = {filter_ for _, filter_ in places[own]}
        starts = [maps[part // 3, filter_, start::PIXELS] for start in range(PIXELS)]
        assert whole[own].tolist() in [values.tolist() for values in starts]


def test_finer_activations_round_to_the_coarse_ones():
    coarse, fine = network(), finer(network(), 8)
    # The same real numbers in both.
    images = np.floor(IMAGES * 256) / 256
    codes = run(fine, images)
    assert codes.max() > 255
    assert np.abs(codes / 256 - run(coarse, images)).max() <= 0.5 + 1 / 256


def test_zeros_are_replaced_and_all_else_stays():
    steps, _ = layer_steps(network(), IMAGES, LANES, PIXELS, filters=2, seed=1)
    assert (steps.act == -128).any()  # the padding
    for weights, acts in ((True, False), (False, True), (True, True)):
        full = without_zeros(steps, -128, weights=weights, acts=acts, seed=1)
        assert (full.weight == 0).any() != weights
        assert (full.act == -128).any() != acts
        kept = steps.weight != 0
        np.testing.assert_array_equal(full.weight[kept], steps.weight[kept])
        kept = steps.act != -128
        np.testing.assert_array_equal(full.act[kept], steps.act[kept])


def test_full_precision_is_the_same_filter_in_more_bits():
    graph = network()
    steps, places = layer_steps(graph, IMAGES, LANES, PIXELS, filters=3, seed=1)
    # Weights whose rounding to 8 bits is the weights themselves, 31 times as large.
    real = {"part.conv.weight": graph["part.conv"].weight * (31 / 124)}
    named = tuple((name.replace(".", "_"), filter_) for name, filter_ in places)
    precise = full_precision(steps, named, real, 8)
    largest = np.abs(graph["part.conv"].weight).max(axis=(1, 2, 3))
    assert set(largest) == {4}
    np.testing.assert_array_equal(precise.weight, np.rint(steps.weight * 127 / 4))
    with pytest.raises(NbqnnError, match=r"^weights must have one for layer part_conv, but have"):
        full_precision(steps, named, {}, 8)


def test_lanes_that_no_layer_fills_are_refused():
    with pytest.raises(NbqnnError, match=r"channels fill 3 lanes$"):
        layer_steps(network(), IMAGES, 3, PIXELS, filters=1, seed=1)
