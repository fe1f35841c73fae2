"""hw.contract.images: images of several inputs side by side."""

import numpy as np
import pytest

from hw.contract.images import by_input, checked_images, with_batch_axis
from nbqnn_train.graph import Input, NbqnnError
from tests.hw.networks import Network

FORMAT = {"bits": 8, "signed": True, "exponent": 0}


def graph(*shapes):
    net = Network(seed=1)
    for number, shape in enumerate(shapes):
        net.add(Input, f"in{number}", shape=shape, **FORMAT)
    return net.graph(*(node.name for node in net.nodes))


def test_one_input_is_an_array():
    x = np.arange(12.0).reshape(2, 3, 2)
    images = checked_images(graph((3, 1, 2)), x)
    assert images.dtype == np.float32
    assert np.array_equal(images, x.reshape(2, 3, 1, 2))
    assert np.array_equal(by_input(graph((3, 1, 2)), x)["in0"], x)


def test_several_inputs_are_records():
    """They are sliced like an array, and come apart again."""
    two = graph((3, 1, 2), (4,))
    given = {"in1": np.arange(12.0).reshape(3, 4), "in0": np.arange(18.0).reshape(3, 3, 1, 2)}
    images = checked_images(two, given)
    assert len(images) == 3
    for name, values in by_input(two, images[1:]).items():
        assert np.array_equal(values, given[name][1:])
    one = by_input(two, images[2])
    assert np.array_equal(one["in0"], given["in0"][2])
    assert np.array_equal(checked_images(two, images), images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 4)), "Images must be given for the inputs in0, in1, not without names"),
        ({"in0": 0}, "Images must be given for the inputs in0, in1, not for in0"),
        (
            {"in0": np.zeros((2, 5)), "in1": np.zeros((2, 4))},
            r"Images of input 'in0' must have shape \(N, 3, 1, 2\), not \(2, 5\)",
        ),
        (
            {"in0": np.zeros((2, 3, 1, 2)), "in1": np.zeros((1, 4))},
            "Images must be as many for every input, not {'in0': 2, 'in1': 1}",
        ),
    ],
)
def test_refusals(given, message):
    with pytest.raises(NbqnnError, match=f"^{message}$"):
        checked_images(graph((3, 1, 2), (4,)), given)


@pytest.mark.parametrize(
    ("given", "shape", "count"),
    [
        ((5, 3, 8, 7), (3, 8, 7), 5),
        ((3, 8, 7), (3, 8, 7), 1),
        ((8, 7), (1, 8, 7), 1),
        ((6, 8, 7), (1, 8, 7), 6),
        ((1, 1, 8, 7), (1, 8, 7), 1),
        ((2, 9), (2, 1, 9), 1),
        ((2, 1, 9), (2, 1, 9), 1),
        ((4, 2, 9), (2, 1, 9), 4),
        ((2, 2, 9), (2, 1, 9), 2),
        ((3, 1, 9), (1, 1, 9), 3),
        ((12,), (12,), 1),
        ((5, 12), (12,), 5),
        ((5, 12, 1, 1), (12,), 5),
        ((5,), (1,), 5),
        ((), (1,), 1),
        ((0, 3, 8, 7), (3, 8, 7), 0),
    ],
)
def test_batch_axis(given, shape, count):
    images = np.arange(np.prod(given)).reshape(given)
    found = with_batch_axis(images, shape)
    assert found.shape == (count, *shape)
    assert np.array_equal(found.ravel(), images.ravel())


@pytest.mark.parametrize(
    ("given", "found"),
    [((8, 3, 7), (1, 8, 3, 7)), ((5, 3, 8, 6), (5, 3, 8, 6)), ((5, 6), (5, 6))],
)
def test_other_shapes_stay_for_a_check_to_refuse_them(given, found):
    assert with_batch_axis(np.zeros(given), (3, 8, 7)).shape == found
