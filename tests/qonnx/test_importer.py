"""QONNX models come back as graphs that compute the same codes; others are refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from onnx import helper

from nbqnn_train.graph import GraphError, run_codes, tensor_types
from nbqnn_train.qonnx import export_qonnx, import_qonnx
from tests.graph.strategies import BASIC, Case, Space, cases
from tests.nightly import examples
from tests.qonnx.layers import layer, quant_node, read

#: 8-bit activations and narrow weights: sums that the exporter need not cut into digits.
_SPACE = Space(kinds=BASIC, weight_bits=(2, 3, 4), act_bits=(2, 3, 4, 7, 8))


@settings(max_examples=examples(80))
@given(case=cases(_SPACE))
def test_what_is_exported_is_imported(case: Case, tmp_path_factory):
    path = tmp_path_factory.mktemp("qonnx") / "model.onnx"
    export_qonnx(case.graph, path)
    graph = import_qonnx(path)
    types = tensor_types(case.graph)
    again = tensor_types(graph)
    before = run_codes(case.graph, case.codes, trace=True)
    after = run_codes(graph, case.codes, trace=True)
    assert len(graph.outputs) == len(case.graph.outputs)
    for name, codes in before.items():
        if not types[name].is_accumulator and name in after:
            assert again[name] == types[name]
            assert np.array_equal(after[name], codes), name
    outputs = [run_codes(g, case.codes) for g in (case.graph, graph)]
    if len(graph.outputs) == 1:
        outputs = [(codes,) for codes in outputs]
    for a, b in zip(*outputs, strict=True):
        assert np.array_equal(a, b)


_CODES = np.random.default_rng(0).integers(-128, 128, (3, 1, 4, 4))


def _sums(weight) -> np.ndarray:
    """The convolution of ``_CODES``, tap by tap."""
    return sum(
        int(weight[j][k]) * _CODES[:, :, j : j + 3, k : k + 3] for j in range(2) for k in range(2)
    )


def test_a_layer(tmp_path):
    graph = read(tmp_path, layer(quant_node("conv", "y", scale="two")))
    # Half steps of the weights over output steps of two: a quarter.
    expected = np.clip((_sums([[1, -1], [0, 1]]) + 2) >> 2, -128, 127)
    assert np.array_equal(run_codes(graph, _CODES), expected)
    assert [node.name for node in graph.nodes] == ["x", "conv", "y"]


def test_flooring_is_exact(tmp_path):
    nodes = layer(quant_node("conv", "y", scale="two", mode="FLOOR"))
    nodes[0] = quant_node("x", "q", mode="HALF_UP", signed=0)
    graph = read(tmp_path, nodes, exact=True)
    codes = np.abs(_CODES)
    sums = sum(
        w * codes[:, :, j : j + 3, k : k + 3]
        for (j, k), w in {(0, 0): 1, (0, 1): -1, (1, 1): 1}.items()
    )
    assert np.array_equal(run_codes(graph, codes), np.clip(sums >> 2, -128, 127))


def test_negative_scales_turn_the_weights(tmp_path):
    nodes = layer(
        helper.make_node("Mul", ["conv", "negative"], ["m"]),
        quant_node("m", "y"),
    )
    expected = np.clip((_sums([[-1, 1], [0, -1]]) + 2) >> 2, -128, 127)
    assert np.array_equal(run_codes(read(tmp_path, nodes), _CODES), expected)


def test_any_step_of_the_weights_goes_into_the_requantizer(tmp_path):
    """A step of 1/3 (in float32) is exact where 16 bits have every step of it in its place."""
    nodes = layer(quant_node("conv", "y"))
    nodes[0] = quant_node("x", "q", mode="HALF_UP", signed=0)
    nodes[1] = quant_node("weight", "w", scale="third", bits="two", narrow=1)
    weight = np.array([[[[1, -1], [0, 1]]]], np.float32) / np.float32(3)
    graph = read(tmp_path, nodes, exact=True, weight=weight)
    codes = np.abs(_CODES)
    sums = codes[:, :, :3, :3] - codes[:, :, :3, 1:] + codes[:, :, 1:, 1:]
    assert np.array_equal(run_codes(graph, codes), _bound(sums / 3))


def test_a_step_that_16_bits_do_not_place_is_refused_or_rounded(tmp_path):
    nodes = layer(quant_node("conv", "y", bits="sixteen"), weights="weight")
    nodes[0] = quant_node("x", "q", mode="HALF_UP", signed=0, bits="sixteen")
    nodes[1] = quant_node("weight", "w", scale="third", bits="two", narrow=1)
    weight = np.array([[[[1, -1], [0, 1]]]], np.float32) / np.float32(3)
    constants = {"weight": weight, "sixteen": np.float32(16)}
    with pytest.raises(GraphError, match=r"'y': scale 0\.333.* must be m / 2\*\*s with m of 16"):
        read(tmp_path, nodes, exact=True, **constants)
    graph = read(tmp_path, nodes, **constants)
    codes = np.abs(_CODES) * 256
    sums = codes[:, :, :3, :3] - codes[:, :, :3, 1:] + codes[:, :, 1:, 1:]
    assert np.abs(run_codes(graph, codes) - np.floor(sums / 3 + 0.5)).max() <= 1


def test_relu_and_narrow_ranges_become_limits(tmp_path):
    nodes = layer(helper.make_node("Relu", ["conv"], ["r"]), quant_node("r", "y"))
    graph = read(tmp_path, nodes)
    assert (graph["y"].low, graph["y"].high) == (0, 127)
    graph = read(tmp_path, layer(quant_node("conv", "y", narrow=1)))
    assert (graph["y"].low, graph["y"].high) == (-127, 127)
    graph = read(tmp_path, [quant_node("x", "y", narrow=1)])
    assert [type(node).__name__ for node in graph.nodes] == ["Input", "Clip"]


def test_average_pooling(tmp_path):
    pool = helper.make_node("GlobalAveragePool", ["q"], ["p"])
    graph = read(tmp_path, [quant_node("x", "q"), pool, quant_node("p", "y")])
    expected = (_CODES.sum(axis=(2, 3), keepdims=True) + 8) >> 4
    assert np.array_equal(run_codes(graph, _CODES), expected)
    pool = helper.make_node("AveragePool", ["q"], ["p"], kernel_shape=[3, 3], strides=[1, 1])
    graph = read(tmp_path, [quant_node("x", "q"), pool, quant_node("p", "y")])
    sums = sum(_CODES[:, :, j : j + 2, k : k + 2] for j in range(3) for k in range(3))
    assert np.array_equal(run_codes(graph, _CODES), np.floor(sums / 9 + 0.5))


def _bound(values) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), -128, 127).astype(np.int64)


def test_batch_norm_is_folded(tmp_path):
    """One over the square root of 4 times -3 is -1.5, applied to what is 1.25 less, plus 1/4."""
    norm = helper.make_node(
        "BatchNormalization", ["conv", "gamma", "beta", "mean", "variance"], ["n"], epsilon=0.0
    )
    numbers = {"gamma": -3, "beta": 0.25, "mean": 1.25, "variance": 4}
    constants = {name: np.array([value], np.float32) for name, value in numbers.items()}
    graph = read(tmp_path, layer(norm, quant_node("n", "y")), **constants)
    real = _sums([[1, -1], [0, 1]]) / 2
    assert np.array_equal(run_codes(graph, _CODES), _bound((real - 1.25) * -1.5 + 0.25))


def test_a_factor_beyond_the_multiplier_goes_into_the_weights(tmp_path):
    scale = np.float32(3 * 2**16)
    nodes = layer(helper.make_node("Mul", ["conv", "large"], ["m"]), quant_node("m", "y"))
    graph = read(tmp_path, nodes, large=scale)
    real = _sums([[1, -1], [0, 1]]) / 2 * float(scale)
    assert np.array_equal(run_codes(graph, _CODES), _bound(real))


def test_sums_of_two_signs(tmp_path):
    """Two quantizers of one convolution, one of them of its negative."""
    nodes = layer(
        helper.make_node("Mul", ["conv", "negative"], ["m"]),
        quant_node("m", "y1"),
        quant_node("conv", "y2"),
        helper.make_node("Concat", ["y1", "y2"], ["y"], axis=1),
    )
    sums = _sums([[1, -1], [0, 1]])
    expected = np.concatenate([_bound(-sums / 4), _bound(sums / 2)], axis=1)
    assert np.array_equal(run_codes(read(tmp_path, nodes), _CODES), expected)


def test_offsets_and_factors_in_any_order(tmp_path):
    nodes = layer(
        helper.make_node("Sub", ["three", "conv"], ["a"]),
        helper.make_node("Div", ["a", "two"], ["b"]),
        helper.make_node("Sub", ["b", "half"], ["c"]),
        helper.make_node("Add", ["one", "c"], ["d"]),
        helper.make_node("Mul", ["three", "d"], ["e"]),
        quant_node("e", "y"),
    )
    real = _sums([[1, -1], [0, 1]]) / 2
    expected = _bound(3 * (1 + (3 - real) / 2 - 0.5))
    assert np.array_equal(run_codes(read(tmp_path, nodes), _CODES), expected)


def test_a_factor_of_zero_leaves_the_offset(tmp_path):
    nodes = layer(
        helper.make_node("Mul", ["conv", "zero"], ["a"]),
        helper.make_node("Add", ["a", "three"], ["b"]),
        quant_node("b", "y"),
    )
    assert (run_codes(read(tmp_path, nodes), _CODES) == 3).all()


def test_limits_of_quantized_values(tmp_path):
    nodes = [
        quant_node("x", "q"),
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("Clip", ["r", "two", "eight"], ["y"]),
    ]
    assert np.array_equal(run_codes(read(tmp_path, nodes), _CODES), np.clip(_CODES, 2, 8))


def test_a_linear_layer_with_columns_of_inputs(tmp_path):
    """MatMul and Gemm without transB hold (Fin, Fout); flattening twice is once."""
    weight = np.random.default_rng(1).choice([0, 1, -1], (16, 3)).astype(np.float32)
    for kind in ("MatMul", "Gemm"):
        nodes = [
            quant_node("x", "q"),
            helper.make_node("Reshape", ["q", "target"], ["f"]),
            helper.make_node("Flatten", ["f"], ["g"]),
            helper.make_node(kind, ["g", "fc"], ["m"]),
            quant_node("m", "y", scale="eight"),
        ]
        graph = read(tmp_path, nodes, fc=weight, target=np.array([0, -1]))
        expected = _bound(_CODES.reshape(3, 16) @ weight / 8)
        assert np.array_equal(run_codes(graph, _CODES), expected)


def test_residuals_and_concatenations(tmp_path):
    nodes = [
        quant_node("x", "q"),
        quant_node("q", "r", scale="half"),
        helper.make_node("Add", ["q", "r"], ["s"]),
        quant_node("s", "t", scale="two"),
        quant_node("q", "u", scale="two"),
        helper.make_node("Concat", ["t", "u"], ["y"], axis=1),
    ]
    # In steps of one half the codes saturate at 127.
    half = np.clip(2 * _CODES, -128, 127) / 2
    expected = [_bound((_CODES + half) / 2), _bound(_CODES / 2)]
    graph = read(tmp_path, nodes)
    assert np.array_equal(run_codes(graph, _CODES), np.concatenate(expected, axis=1))
