"""The interpreter against SPEC.md in plain loops, and what it refuses."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import (
    Clip,
    Conv2d,
    DepthToSpace,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    MaxPool2d,
    Requantize,
    SpaceToDepth,
    quantize_input,
    requantize,
    run,
    run_codes,
    tensor_types,
)
from tests.graph.reference import reference_input, reference_trace
from tests.graph.strategies import Case, Space, cases
from tests.nightly import examples


@settings(max_examples=examples(150))
@given(case=cases())
def test_every_node_equals_the_specification(case: Case):
    trace = run_codes(case.graph, case.codes, trace=True)
    types = tensor_types(case.graph)
    assert list(trace) == list(types)
    for image in range(len(next(iter(case.codes.values())))):
        expected = reference_trace(case.graph, {k: v[image] for k, v in case.codes.items()})
        for name, codes in trace.items():
            assert codes.dtype == np.int64
            assert codes.shape[1:] == types[name].shape
            assert codes[image].tolist() == expected[name].tolist(), name
    outputs = run_codes(case.graph, case.codes)
    if len(case.graph.outputs) == 1:
        outputs = (outputs,)
    for name, codes in zip(case.graph.outputs, outputs, strict=True):
        assert np.array_equal(codes, trace[name])


#: Large weights and 16-bit codes, so that float32, float64 and int64 sums all occur.
_WIDE = Space(kinds=(Conv2d, Linear), ops=(1, 2), weight_bits=(4, 5, 6), act_bits=(8, 16))


@settings(max_examples=examples(40))
@given(case=cases(_WIDE))
def test_wide_accumulators_equal_the_specification(case: Case):
    trace = run_codes(case.graph, case.codes, trace=True)
    expected = reference_trace(case.graph, {k: v[0] for k, v in case.codes.items()})
    for name, codes in trace.items():
        assert codes[0].tolist() == expected[name].tolist(), name


@settings(max_examples=examples(200))
@given(
    x=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
    bits=st.integers(2, 16),
    signed=st.booleans(),
    exponent=st.integers(-128, 127),
    ties=st.sampled_from(["up", "even", "odd"]),
)
def test_input_is_quantized_exactly(x, bits, signed, exponent, ties):
    node = Input(name="x", shape=(len(x),), bits=bits, signed=signed, exponent=exponent, ties=ties)
    x = np.array([x], dtype=np.float32)
    assert quantize_input(node, x)[0].tolist() == reference_input(node, x[0]).tolist()


@pytest.mark.parametrize(
    ("ties", "codes"), [("up", [-1, 0, 1, 2]), ("even", [-2, 0, 0, 2]), ("odd", [-1, -1, 1, 1])]
)
def test_ties_of_the_input(ties, codes):
    node = Input(name="x", shape=(7,), bits=8, signed=True, exponent=-1, ties=ties)
    x = np.array([[-0.75, -0.25, 0.25, 0.75, 1e30, -1e30, np.nextafter(0.25, 0)]])
    assert quantize_input(node, x).tolist() == [[*codes, 127, -128, 0]]


@pytest.mark.parametrize(
    ("acc", "shift", "code"),
    [
        (-3, 1, -1),
        (-1, 1, 0),
        (1, 1, 1),
        (3, 1, 2),
        (7, 0, 7),
        (-9, 2, -2),
        (1000, 1, 127),
        (-1000, 1, -128),
    ],
)
def test_ties_of_the_requantizer_go_up(acc, shift, code):
    assert requantize(acc, 1, 0, shift, -128, 127) == code


@settings(max_examples=examples(200))
@given(
    acc=st.integers(-(2**47), 2**47 - 1),
    multiplier=st.integers(1, 2**16 - 1),
    bias=st.integers(-(2**46), 2**46),
    shift=st.integers(0, 47),
)
def test_requantize_equals_python_integers(acc, multiplier, bias, shift):
    total = acc * multiplier + bias + (1 << shift >> 1)
    if abs(acc * multiplier) + abs(bias) + (1 << shift >> 1) >= 1 << 63:
        with pytest.raises(GraphError, match="must fit 64 bits"):
            requantize(acc, multiplier, bias, shift, -128, 127)
    else:
        expected = min(max(total >> shift, -128), 127)
        assert requantize(acc, multiplier, bias, shift, -128, 127) == expected


def test_requantize_takes_parameters_per_channel():
    acc = np.arange(12).reshape(1, 2, 3, 2)
    codes = requantize(acc, [1, 2], [0, 100], [0, 1], 0, 255)
    assert codes[0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert codes[0, 1].tolist() == [[56, 57], [58, 59], [60, 61]]
    assert requantize(np.array([4, 4]), [1, 2], [0, 0], [1, 0], 0, 255).tolist() == [2, 8]


def test_sums_just_beyond_float32_are_exact():
    """2**24 + 1 is the first integer that float32 does not represent."""
    image = Input(name="x", shape=(5,), bits=16, signed=False, exponent=0)
    linear = Linear(
        name="sum",
        input="x",
        weight=[[64, 64, 64, 64, 1]],
        weight_bits=4,
        weight_exponent=[0],
        acc_bits=26,
    )
    out = Requantize(
        name="y",
        input="sum",
        multiplier=[1],
        bias=[-(1 << 24)],
        shift=[0],
        bits=8,
        signed=False,
        exponent=0,
        low=0,
        high=255,
    )
    graph = Graph(nodes=(image, linear, out), outputs=("y",))
    trace = run_codes(graph, np.array([[65535, 65535, 65535, 65535, 257]]), trace=True)
    assert trace["sum"].tolist() == [[(1 << 24) + 1]]
    assert trace["y"].tolist() == [[1]]


@pytest.mark.parametrize(("bias", "code"), [(0, 1 << 14), (-1, (1 << 14) - 1)])
def test_requantizing_just_beyond_float64_is_exact(bias, code):
    """The decision hangs on the last of 62 bits."""
    image = Input(name="x", shape=(1,), bits=16, signed=False, exponent=0)
    linear = Linear(
        name="sum",
        input="x",
        weight=[[1 << 30]],
        weight_bits=6,
        weight_exponent=[0],
        acc_bits=47,
    )
    out = Requantize(
        name="y",
        input="sum",
        multiplier=[1 << 15],
        bias=[bias],
        shift=[47],
        bits=16,
        signed=False,
        exponent=0,
        low=0,
        high=65535,
    )
    graph = Graph(nodes=(image, linear, out), outputs=("y",))
    # 65534 * 2**30 * 2**15 + 2**46 is 2**61: one less, and the code is one less.
    assert run_codes(graph, np.array([[65534]])).tolist() == [[code]]


def _small() -> Graph:
    image = Input(name="image", shape=(1, 4, 4), bits=8, signed=False, exponent=0)
    pool = MaxPool2d(name="pool", input="image", kernel=(2, 2), stride=(2, 2))
    return Graph(nodes=(image, pool), outputs=("pool",))


def test_padding_never_wins():
    image = Input(name="image", shape=(1, 2, 2), bits=4, signed=True, exponent=0)
    pool = MaxPool2d(name="pool", input="image", kernel=(2, 2), stride=(2, 2), padding=(1, 1, 1, 1))
    codes = np.full((1, 1, 2, 2), -5)
    assert run_codes(Graph(nodes=(image, pool), outputs=("pool",)), codes).tolist() == [
        [[[-5, -5], [-5, -5]]]
    ]


def test_an_empty_batch_is_a_batch():
    assert run(_small(), np.zeros((0, 1, 4, 4), np.float32)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (Flatten(name="y", input="image"), (4 * 4 * 4,)),
        (DepthToSpace(name="y", input="image", block=2), (1, 8, 8)),
        (SpaceToDepth(name="y", input="image", block=2), (16, 2, 2)),
    ],
)
def test_an_empty_batch_keeps_the_shape_of_an_image(node, shape):
    image = Input(name="image", shape=(4, 4, 4), bits=8, signed=True, exponent=0)
    graph = Graph(nodes=(image, node), outputs=("y",))
    assert run(graph, np.zeros((0, 4, 4, 4), np.float32)).shape == (0, *shape)


def test_several_inputs_and_outputs():
    a, b = (Input(name=n, shape=(2,), bits=8, signed=True, exponent=0) for n in "ab")
    c = Clip(name="c", input="a", low=0, high=5)
    graph = Graph(nodes=(a, b, c), outputs=("b", "c"))
    b_codes, c_codes = run(graph, {"b": np.float32([[1, -2]]), "a": np.float32([[-3, 9]])})
    assert b_codes.tolist() == [[1, -2]]
    assert c_codes.tolist() == [[0, 5]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((1, 1, 4, 5), np.float32),
            r"images of shape \(1, 1, 4, 5\); expected \(N, 1, 4, 4\)",
        ),
        (np.zeros((1, 4, 4), np.float32), r"images of shape \(1, 4, 4\); expected \(N, 1, 4, 4\)"),
        (
            np.full((1, 1, 4, 4), np.nan, np.float32),
            r"images must be finite, not nan at \[0, 0, 0, 0\]",
        ),
        (np.full((1, 1, 4, 4), np.inf, np.float32), "images must be finite, not inf"),
        (np.zeros((1, 1, 4, 4), np.uint8), "images must be float32, not uint8"),
        ([[1.0], [2.0, 3.0]], r"Images for input 'image' must be an array: setting an array "),
        ({"other": np.zeros((1, 1, 4, 4))}, r"for the inputs \['image'\], not for \['other'\]"),
    ],
)
def test_wrong_images_are_refused(x, message):
    with pytest.raises(GraphError, match=message):
        run(_small(), x)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((1, 1, 4, 4), 256), r"values reach 256\.\.256; 8 bits hold 0\.\.255"),
        (np.zeros((1, 1, 4, 4), np.float32), "codes must be integers, not float32"),
    ],
)
def test_wrong_codes_are_refused(codes, message):
    with pytest.raises(GraphError, match=message):
        run_codes(_small(), codes)


def test_batches_must_be_equal():
    a, b = (Input(name=n, shape=(2,), bits=8, signed=True, exponent=0) for n in "ab")
    graph = Graph(nodes=(a, b), outputs=("a", "b"))
    with pytest.raises(GraphError, match="every input must hold 1 images, not 2"):
        run(graph, {"a": np.zeros((1, 2)), "b": np.zeros((2, 2))})


def test_an_invalid_graph_is_refused():
    with pytest.raises(GraphError, match="not a node of the graph"):
        run(replace(_small(), outputs=("nothing",)), np.zeros((1, 1, 4, 4), np.float32))


def test_a_graph_that_is_none_is_refused():
    with pytest.raises(TypeError, match="Graph must be a Graph"):
        run("graph", np.zeros(1))


def test_an_overflow_is_caught_even_if_the_proof_were_wrong(monkeypatch):
    """The check of actual values does not rely on the bounds."""
    image = Input(name="x", shape=(1,), bits=8, signed=False, exponent=0)
    linear = Linear(
        name="sum", input="x", weight=[[4]], weight_bits=3, weight_exponent=[0], acc_bits=8
    )
    out = Requantize(
        name="y",
        input="sum",
        multiplier=[1],
        bias=[0],
        shift=[0],
        bits=8,
        signed=False,
        exponent=0,
        low=0,
        high=255,
    )
    graph = Graph(nodes=(image, linear, out), outputs=("y",))
    with pytest.raises(
        GraphError, match=r"can reach 0\.\.1020, which takes 11 bits; acc_bits is 8"
    ):
        run_codes(graph, np.array([[255]]))
    module = import_module("nbqnn_train.graph.validate")
    monkeypatch.setattr(module, "required_bits", lambda low, high: 8)
    with pytest.raises(
        GraphError, match=r"'sum': values reach 1020\.\.1020; 8 bits hold -128\.\.127"
    ):
        run_codes(graph, np.array([[255]]))


@pytest.mark.parametrize(
    ("multiplier", "shift", "refused"),
    [(0, 0, False), (1, 62, False), (-1, 0, True), (1, -1, True), (1, 63, True)],
)
def test_ends_of_what_the_requantizer_takes(multiplier, shift, refused):
    if refused:
        with pytest.raises(GraphError, match=r"multipliers from 0 and shifts in 0\.\.62$"):
            requantize(5, multiplier, 0, shift, -128, 127)
    else:
        # 5 / 2**62 is below one half.
        assert requantize(5, multiplier, 0, shift, -128, 127) == 0
