"""QONNX models come back as graphs that compute the same codes; others are refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nbqnn_train.graph import GraphError, run_codes, tensor_types
from nbqnn_train.qonnx import export_qonnx, import_qonnx
from tests.graph.strategies import BASIC, Case, Space, cases

#: 8-bit activations and narrow weights: sums that the exporter need not cut into digits.
_SPACE = Space(kinds=BASIC, weight_bits=(2, 3, 4), act_bits=(2, 3, 4, 7, 8))


@settings(max_examples=80)
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


def _model(nodes, constants, shape=(1, 1, 4, 4), output="y") -> bytes:
    """A QONNX model from the input ``x`` to ``output``."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [*"NCHW"])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _quant(
    source, target, scale="one", bits="eight", zero="zero", signed=1, narrow=0, mode="ROUND"
):
    return helper.make_node(
        "Quant",
        [source, scale, zero, bits],
        [target],
        name=target,
        domain="qonnx.custom_op.general",
        signed=signed,
        narrow=narrow,
        rounding_mode=mode,
    )


_CONSTANTS = {
    "one": np.float32(1),
    "half": np.float32(0.5),
    "third": np.float32(1 / 3),
    "zero": np.float32(0),
    "two": np.float32(2),
    "three": np.float32(3),
    "eight": np.float32(8),
    "weight": np.array([[[[1, -1], [0, 1]]]], np.float32),
    "negative": np.array([-0.5], np.float32),
    "sixth": np.array([1 / 6], np.float32),
}


def _layer(*more, weights="weight", bits="two", output="y"):
    """Quantized input, convolution by ``weights`` times one half, and ``more``."""
    return [
        _quant("x", "q"),
        _quant(weights, "w", scale="half", bits=bits, narrow=1),
        helper.make_node("Conv", ["q", "w"], ["conv"], name="conv", kernel_shape=[2, 2]),
        *more,
    ]


def _import(tmp_path, nodes, exact=False, shape=(1, 1, 4, 4), **constants):
    (tmp_path / "model.onnx").write_bytes(_model(nodes, _CONSTANTS | constants, shape))
    return import_qonnx(tmp_path / "model.onnx", exact=exact)


_CODES = np.random.default_rng(0).integers(-128, 128, (3, 1, 4, 4))


def _sums(weight) -> np.ndarray:
    """The convolution of ``_CODES``, tap by tap."""
    return sum(
        int(weight[j][k]) * _CODES[:, :, j : j + 3, k : k + 3] for j in range(2) for k in range(2)
    )


def test_a_layer(tmp_path):
    graph = _import(tmp_path, _layer(_quant("conv", "y", scale="two")))
    # Half steps of the weights over output steps of two: a quarter.
    expected = np.clip((_sums([[1, -1], [0, 1]]) + 2) >> 2, -128, 127)
    assert np.array_equal(run_codes(graph, _CODES), expected)
    assert [node.name for node in graph.nodes] == ["x", "conv", "y"]


def test_flooring_is_exact(tmp_path):
    nodes = _layer(_quant("conv", "y", scale="two", mode="FLOOR"))
    nodes[0] = _quant("x", "q", mode="HALF_UP", signed=0)
    graph = _import(tmp_path, nodes, exact=True)
    codes = np.abs(_CODES)
    sums = sum(
        w * codes[:, :, j : j + 3, k : k + 3]
        for (j, k), w in {(0, 0): 1, (0, 1): -1, (1, 1): 1}.items()
    )
    assert np.array_equal(run_codes(graph, codes), np.clip(sums >> 2, -128, 127))


def test_negative_scales_turn_the_weights(tmp_path):
    nodes = _layer(
        helper.make_node("Mul", ["conv", "negative"], ["m"]),
        _quant("m", "y"),
    )
    expected = np.clip((_sums([[-1, 1], [0, -1]]) + 2) >> 2, -128, 127)
    assert np.array_equal(run_codes(_import(tmp_path, nodes), _CODES), expected)


def test_any_step_of_the_weights_goes_into_the_requantizer(tmp_path):
    """A step of 1/3 (in float32) is a multiplier of 16 bits with exact=False."""
    nodes = _layer(_quant("conv", "y"))
    nodes[1] = _quant("weight", "w", scale="third", bits="two", narrow=1)
    constants = {"weight": np.array([[[[1, -1], [0, 1]]]], np.float32) / np.float32(3)}
    graph = _import(tmp_path, nodes, **constants)
    expected = np.clip(np.floor(_sums([[1, -1], [0, 1]]) / 3 + 0.5), -128, 127)
    assert np.array_equal(run_codes(graph, _CODES), expected)
    nodes[0] = _quant("x", "q", mode="HALF_UP", signed=0)
    with pytest.raises(GraphError, match=r"'y': scale 0\.333.* must be m / 2\*\*s with m of 16"):
        _import(tmp_path, nodes, exact=True, **constants)


def test_relu_and_narrow_ranges_become_limits(tmp_path):
    nodes = _layer(helper.make_node("Relu", ["conv"], ["r"]), _quant("r", "y"))
    graph = _import(tmp_path, nodes)
    assert (graph["y"].low, graph["y"].high) == (0, 127)
    graph = _import(tmp_path, _layer(_quant("conv", "y", narrow=1)))
    assert (graph["y"].low, graph["y"].high) == (-127, 127)
    graph = _import(tmp_path, [_quant("x", "y", narrow=1)])
    assert [type(node).__name__ for node in graph.nodes] == ["Input", "Clip"]


def test_average_pooling(tmp_path):
    pool = helper.make_node("GlobalAveragePool", ["q"], ["p"])
    graph = _import(tmp_path, [_quant("x", "q"), pool, _quant("p", "y")])
    expected = (_CODES.sum(axis=(2, 3), keepdims=True) + 8) >> 4
    assert np.array_equal(run_codes(graph, _CODES), expected)
    pool = helper.make_node("AveragePool", ["q"], ["p"], kernel_shape=[3, 3], strides=[1, 1])
    graph = _import(tmp_path, [_quant("x", "q"), pool, _quant("p", "y")])
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
    graph = _import(tmp_path, _layer(norm, _quant("n", "y")), **constants)
    real = _sums([[1, -1], [0, 1]]) / 2
    assert np.array_equal(run_codes(graph, _CODES), _bound((real - 1.25) * -1.5 + 0.25))


def test_a_factor_beyond_the_multiplier_goes_into_the_weights(tmp_path):
    scale = np.float32(3 * 2**16)
    nodes = _layer(helper.make_node("Mul", ["conv", "large"], ["m"]), _quant("m", "y"))
    graph = _import(tmp_path, nodes, large=scale)
    assert np.abs(graph["conv"].weight).max() > 1
    real = _sums([[1, -1], [0, 1]]) / 2 * float(scale)
    assert np.array_equal(run_codes(graph, _CODES), _bound(real))


@pytest.mark.parametrize("negative_first", [False, True])
def test_sums_of_two_signs_are_refused(tmp_path, negative_first):
    negative = [helper.make_node("Mul", ["conv", "negative"], ["m"]), _quant("m", "y1")]
    positive = [_quant("conv", "y2")]
    parts = negative + positive if negative_first else positive + negative
    nodes = _layer(*parts, helper.make_node("Concat", ["y1", "y2"], ["y"], axis=1))
    message = "another Quant reads the sums" if negative_first else "scale of channel 0 must be pos"
    with pytest.raises(GraphError, match=message):
        _import(tmp_path, nodes)


def test_offsets_and_factors_in_any_order(tmp_path):
    nodes = _layer(
        helper.make_node("Sub", ["three", "conv"], ["a"]),
        helper.make_node("Div", ["a", "two"], ["b"]),
        helper.make_node("Sub", ["b", "half"], ["c"]),
        helper.make_node("Add", ["one", "c"], ["d"]),
        helper.make_node("Mul", ["three", "d"], ["e"]),
        _quant("e", "y"),
    )
    real = _sums([[1, -1], [0, 1]]) / 2
    expected = _bound(3 * (1 + (3 - real) / 2 - 0.5))
    assert np.array_equal(run_codes(_import(tmp_path, nodes), _CODES), expected)


def test_a_factor_of_zero_leaves_the_offset(tmp_path):
    nodes = _layer(
        helper.make_node("Mul", ["conv", "zero"], ["a"]),
        helper.make_node("Add", ["a", "three"], ["b"]),
        _quant("b", "y"),
    )
    assert (run_codes(_import(tmp_path, nodes), _CODES) == 3).all()


def test_limits_of_quantized_values(tmp_path):
    nodes = [
        _quant("x", "q"),
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("Clip", ["r", "two", "eight"], ["y"]),
    ]
    assert np.array_equal(run_codes(_import(tmp_path, nodes), _CODES), np.clip(_CODES, 2, 8))


def test_a_linear_layer_with_columns_of_inputs(tmp_path):
    """MatMul and Gemm without transB hold (Fin, Fout); flattening twice is once."""
    weight = np.random.default_rng(1).choice([0, 1, -1], (16, 3)).astype(np.float32)
    for kind in ("MatMul", "Gemm"):
        nodes = [
            _quant("x", "q"),
            helper.make_node("Reshape", ["q", "target"], ["f"]),
            helper.make_node("Flatten", ["f"], ["g"]),
            helper.make_node(kind, ["g", "fc"], ["m"]),
            _quant("m", "y", scale="eight"),
        ]
        graph = _import(tmp_path, nodes, fc=weight, target=np.array([0, -1]))
        expected = _bound(_CODES.reshape(3, 16) @ weight / 8)
        assert np.array_equal(run_codes(graph, _CODES), expected)


def test_residuals_and_concatenations(tmp_path):
    nodes = [
        _quant("x", "q"),
        _quant("q", "r", scale="half"),
        helper.make_node("Add", ["q", "r"], ["s"]),
        _quant("s", "t", scale="two"),
        _quant("q", "u", scale="two"),
        helper.make_node("Concat", ["t", "u"], ["y"], axis=1),
    ]
    # In steps of one half the codes saturate at 127.
    half = np.clip(2 * _CODES, -128, 127) / 2
    expected = [_bound((_CODES + half) / 2), _bound(_CODES / 2)]
    graph = _import(tmp_path, nodes)
    assert np.array_equal(run_codes(graph, _CODES), np.concatenate(expected, axis=1))


_REFUSED = [
    (
        _layer(_quant("conv", "y"), weights="bad"),
        {"bad": np.array([[[[1.5, 0.5], [0, 1]]]], np.float32), "two": np.float32(4)},
        "Conv 'conv': weight[0, 0, 0, 0] is 3.0 steps; it must be 0 or a signed power of two",
    ),
    (
        _layer(_quant("conv", "y", scale="third")),
        {},
        "Quant 'y': scale of an activation must be one",
    ),
    (_layer(_quant("conv", "y", zero="one")), {}, "Quant 'y': zero point must be 0, not 1.0"),
    (_layer(_quant("conv", "y", bits="half")), {}, "Quant 'y': bit width must be one integer"),
    (_layer(_quant("conv", "y", bits="one")), {}, "activations must have 2..16 bits, not 1"),
    (_layer(_quant("conv", "y", mode="DOWN")), {}, "Quant 'y': rounding mode 'DOWN' is not supp"),
    (_layer(helper.make_node("Sigmoid", ["conv"], ["y"])), {}, "Sigmoid 'y': this operator is not"),
    (_layer(helper.make_node("Identity", ["conv"], ["y"])), {}, "Output 'y' must be the result of"),
    (
        _layer(helper.make_node("Add", ["conv", "q"], ["y"])),
        {},
        "Add 'y': both operands must be results of a Quant, or one must be constant",
    ),
    (
        _layer(helper.make_node("MaxPool", ["conv"], ["y"], kernel_shape=[2, 2])),
        {},
        "MaxPool 'y': input 0 must be the result of a Quant",
    ),
    (
        _layer(helper.make_node("Mul", ["conv", "nan"], ["y"])),
        {"nan": np.array([np.nan], np.float32)},
        "Mul 'y': input 1 must be finite, not nan at [0]",
    ),
    (
        _layer(
            helper.make_node("Relu", ["conv"], ["r"]), helper.make_node("Add", ["r", "one"], ["y"])
        ),
        {},
        "Add 'y': only a Quant may follow a Relu or Floor",
    ),
    (
        _layer(
            helper.make_node("Relu", ["conv"], ["r"]), helper.make_node("Mul", ["r", "one"], ["y"])
        ),
        {},
        "Mul 'y': only a Quant may follow a Relu",
    ),
    (
        _layer(helper.make_node("Clip", ["conv", "one", "two"], ["y"])),
        {},
        "Clip 'y': must follow a Floor or a Quant",
    ),
    (
        _layer(helper.make_node("Div", ["conv", "zero"], ["y"])),
        {},
        "Div 'y': must divide by a constant other than 0",
    ),
    (
        _layer(helper.make_node("Mul", ["conv", "pair"], ["y"])),
        {"pair": np.ones(2, np.float32)},
        "Mul 'y': constant of shape (2,) must hold one number per channel",
    ),
    (
        [
            *_layer()[:2],
            helper.make_node("Conv", ["q", "w"], ["conv"], name="conv", auto_pad="SAME_UPPER"),
            _quant("conv", "y"),
        ],
        {},
        "Conv 'conv': auto_pad must be NOTSET",
    ),
    (
        [
            _quant("x", "q"),
            helper.make_node("AveragePool", ["q"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        ],
        {},
        "AveragePool 'y': padding must be counted",
    ),
    (
        [_quant("x", "q"), helper.make_node("Concat", ["q", "q"], ["y"], axis=2)],
        {},
        "Concat 'y': axis must be 1",
    ),
    (
        [_quant("x", "q"), helper.make_node("Reshape", ["q", "target"], ["y"])],
        {"target": np.array([1, 4, 4])},
        "Reshape 'y': must flatten (1, 4, 4), not reshape to [1, 4, 4]",
    ),
    (
        [
            _quant("x", "q"),
            helper.make_node("Mul", ["q", "negative"], ["m"]),
            _quant("m", "y"),
        ],
        {},
        "Quant 'y': scale of channel 0 must be positive, not -0.5",
    ),
    (
        [
            _quant("x", "a"),
            _quant("x", "b", scale="half"),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ],
        {},
        "Quant 'b': input 'x' must be quantized in one way only",
    ),
    (
        _layer(helper.make_node("Mul", ["conv", "tiny"], ["m"]), _quant("m", "y")),
        {"tiny": np.array([1e-20], np.float32)},
        "e-21 of channel 0 must lie in 2**-47..65535",
    ),
    (
        [helper.make_node("Mul", ["x", "half"], ["h"]), _quant("h", "y")],
        {},
        "Quant 'y': input 'x' must be quantized as it is, to the nearest step",
    ),
]


@pytest.mark.parametrize(("nodes", "constants", "message"), _REFUSED)
def test_what_the_graph_cannot_hold_is_refused(nodes, constants, message, tmp_path):
    with pytest.raises(GraphError) as error:
        _import(tmp_path, nodes, **constants)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_ties_to_even_are_refused_unless_accepted(tmp_path):
    with pytest.raises(GraphError, match="Quant 'q': ties of the input go to even"):
        _import(tmp_path, _layer(_quant("conv", "y")), exact=True)
    nodes = _layer(_quant("conv", "y"))
    nodes[0] = _quant("x", "q", mode="HALF_UP", signed=0)
    with pytest.raises(GraphError, match="Quant 'y': ties of channel 0 go to even"):
        _import(tmp_path, nodes, exact=True)
    # With an offset between the steps of the accumulator there are no ties.
    nodes[2].input.append("sixth")
    graph = _import(tmp_path, nodes, exact=True)
    assert graph["y"].bias.tolist() == [0]


@pytest.mark.parametrize("data", [b"", b"\x00garbage", b"\x08\x07"])
def test_other_files_are_refused(data, tmp_path):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(GraphError, match=r"model\.onnx' must be a valid ONNX model: "):
        import_qonnx(tmp_path / "model.onnx")
    with pytest.raises(GraphError, match="cannot be read: No such file"):
        import_qonnx(tmp_path / "none.onnx")


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_models_are_refused_or_imported(data, tmp_path_factory):
    """A byte here and there is another one: one clear error, or a graph."""
    folder = tmp_path_factory.mktemp("fuzz")
    nodes = _layer(
        helper.make_node("Relu", ["conv"], ["r"]),
        _quant("r", "s"),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "fc"], ["g"], transB=1),
        helper.make_node("Mul", ["g", "half"], ["h"]),
        _quant("h", "y"),
    )
    model = bytearray(_model(nodes, _CONSTANTS | {"fc": np.ones((2, 4), np.float32)}))
    for _ in range(data.draw(st.integers(1, 3))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    (folder / "model.onnx").write_bytes(model)
    message = ""
    try:
        import_qonnx(folder / "model.onnx", exact=False)
    except GraphError as error:
        message = str(error)
    assert "\n" not in message
