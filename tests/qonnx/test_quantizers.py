"""Every kind of quantizer, in every rounding mode, against qonnx's executor or onnxruntime."""

import re

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import GraphError, run, tensor_types
from tests.qonnx.models import GENERAL, Build, check, imported, real_output, reference

_MODES = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN", "FLOOR", "CEIL", "UP", "DOWN")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(_MODES),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    narrow=st.booleans(),
    scale=st.sampled_from([2.0**-4, 0.5, 0.3, 0.71, 1.9, 4.0]),
    zero=st.sampled_from([0, 0, 0, 1, -3]),
    offset=st.sampled_from([0.0, 0.125, -0.3, 1.0]),
    factor=st.sampled_from([1.0, -1.0, 0.37, 2.5]),
    seed=st.integers(0, 99),
)
def test_a_quantizer_is_exact_or_refused(
    mode, bits, signed, narrow, scale, zero, offset, factor, seed, tmp_path_factory
):
    """Whatever is imported exactly has the codes of qonnx's executor, on sums of all sizes."""
    b = Build(shape=(1, 6), seed=seed)
    x = b.op("MatMul", [b.quant(b.op("Add", ["x", b.const(0.5)]), 1.0, 4), b.weight((6, 3))])
    x = b.op("Add", [b.op("Mul", [x, b.const(factor)]), b.const(offset)])
    x = b.quant(x, scale, bits, int(signed), int(narrow), mode, float(zero))
    # A layer behind it, so that its step may be any number.
    output = b.op("MatMul", [x, b.const(np.eye(3) / scale)])
    model = b.model(output)
    try:
        graph = imported(model, tmp_path_factory.mktemp("q") / "m.onnx")
    except GraphError as error:
        reasons = "must hold more than|zero point|--approximate"
        assert re.search(reasons, str(error)), error
        return
    images = b.rng.integers(-9, 9, (20, 6)).astype(np.float32)
    codes = np.round(reference(model, images) * 2**10) / 2**10
    assert real_output(graph, images).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "DOWN", "UP"])
def test_scales_per_channel(mode, bits, path):
    """Steps of activations by channel; a depthwise convolution reads them."""
    b = Build()
    steps = np.reshape([0.3, 0.11, 0.07, 0.5], (1, 4, 1, 1))
    x = b.quant(b.op("Relu", [b.conv(b.image())]), steps, bits, 0, mode=mode)
    x = b.act(b.conv(x, 4, 4, 3, group=4))
    check(b, b.head(b.flat(x), 256), path)


def test_binary_weights_and_activations(path):
    """As in CNV 1W1A: plus or minus one, times a scale per channel."""
    b = Build()
    weight = b.rng.standard_normal((4, 2, 3, 3))
    scale = np.reshape([0.5, 1.0, 0.3, 2.0], (4, 1, 1, 1))
    w = b.op("BipolarQuant", [b.const(weight), b.const(scale)], GENERAL)
    x = b.op("Conv", [b.image(), w], pads=[1] * 4)
    x = b.op("BipolarQuant", [x, b.const(1.0)], GENERAL)
    x = b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    check(b, b.head(b.flat(x), 64), path)


def test_one_signed_bit_is_two_valued(path):
    b = Build()
    x = b.quant(b.conv(b.image()), 0.5, bits=1, signed=1, mode="ROUND")
    check(b, b.head(b.flat(x), 256), path)


def test_trunc_drops_bits(path):
    """As Brevitas writes an average pool: a sum, then fewer bits."""
    b = Build()
    x = b.op("AveragePool", [b.body()], kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Mul", [x, b.const(4.0)])
    inputs = [x, *(b.const(v) for v in (2.0**-5, 0.0, 10.0, 8.0))]
    x = b.op("Trunc", inputs, GENERAL, rounding_mode="FLOOR")
    check(b, b.head(b.flat(x), 64), path)


def test_activations_on_steps_that_are_no_powers_of_two(path):
    """As in the public networks of Brevitas: floating point scales everywhere but at the end."""
    b = Build()
    x = b.quant(b.op("Relu", [b.conv(b.image())]), 0.08842, 4, 0, mode="ROUND")
    w = b.quant(b.const(b.rng.choice([-0.3, 0, 0.3], (5, 256))), 0.3, 2, narrow=1, mode="ROUND")
    x = b.op("Gemm", [b.flat(x), w], transB=1)
    x = b.op("BipolarQuant", [b.op("Add", [x, b.const(0.123)]), b.const(1.0)], GENERAL)
    model, images = b.model(x), b.images(20)
    found = real_output(imported(model, path), images)
    assert found.tolist() == reference(model, images).tolist()
    assert set(np.unique(found)) == {-1.0, 1.0}


def _qdq(b: Build, x: str, scale: float, zero=0, kind=np.int8) -> str:
    inputs = [b.const(scale), b.const(zero, kind)]
    codes = b.op("QuantizeLinear", [x, *inputs])
    return b.op("DequantizeLinear", [codes, *inputs])


def _onnxruntime(model, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As written: no fusion into integer operators.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.concatenate([session.run(None, {"x": x[i : i + 1]})[0] for i in range(len(x))])


@pytest.mark.parametrize(("kind", "zero"), [(np.int8, 0), (np.uint8, 0), (np.uint8, 7)])
def test_onnx_own_pair(kind, zero, path):
    """QuantizeLinear and DequantizeLinear around everything, weights as 8-bit integers."""
    b = Build()
    weight = b.const(b.rng.choice([-4, -2, -1, 0, 1, 2, 4], (4, 2, 3, 3)), np.int8)
    w = b.op(
        "DequantizeLinear",
        [weight, b.const([0.5, 0.25, 0.125, 0.5]), b.const([0, 0, 0, 0], np.int8)],
        axis=0,
    )
    bias = b.op("DequantizeLinear", [b.const([3, -2, 5, 7], np.int32), b.const(2.0**-9)])
    x = b.op("Conv", [_qdq(b, "x", 2.0**-6), w, bias], pads=[1] * 4)
    x = _qdq(b, b.op("Relu", [x]), 0.0437, zero, kind)
    x = b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    w = b.op(
        "DequantizeLinear", [b.const(b.rng.choice([-1, 0, 1], (5, 64)), np.int8), b.const(0.3)]
    )
    x = b.op("Gemm", [b.flat(x), w], transB=1)
    output = _qdq(b, x, 2.0**-4)
    model, images = b.model(output), b.images(20)
    graph = imported(model, path, exact=False)
    expected = _onnxruntime(model, images)
    assert real_output(graph, images).tolist() == expected.tolist()
    assert len(np.unique(expected)) > 5


def test_an_integer_input(path):
    """Images of bytes need no quantizer."""
    b = Build(shape=(1, 1, 4, 4))
    x = b.op("Cast", ["x"], to=1)
    x = b.act(b.conv(b.op("Mul", [x, b.const(2.0**-8)]), 1, 2, 3))
    model = b.model(b.head(b.flat(x), 32))
    model.graph.input[0].type.tensor_type.elem_type = 2
    images = b.rng.integers(0, 256, (5, 1, 4, 4)).astype(np.uint8)
    graph = imported(model, path)
    (node,) = graph.input_nodes
    assert (node.bits, node.signed, node.exponent) == (8, False, 0)
    expected = reference(model, images)
    found = np.ldexp(
        run(graph, images.astype(np.float32)).astype(float),
        tensor_types(graph)[graph.outputs[0]].exponent,
    )
    assert found.tolist() == expected.tolist()


def test_an_affine_map_before_the_quantizer_of_the_input(path):
    """As in the MNIST networks of Brevitas: 2 x - 1, then three values."""
    b = Build(shape=(1, 1, 8, 8))
    x = b.op("Reshape", ["x", b.const([1, -1], np.int64)])
    x = b.op("Sub", [b.op("Mul", [x, b.const(2.0)]), b.const([1.0])])
    x = b.quant(x, 1.0, 2, 1, 1, "ROUND")
    output = b.head(x, 64)
    model = b.model(output)
    images = b.rng.uniform(0, 1, (10, 1, 8, 8)).astype(np.float32)
    images[:5] = b.rng.integers(0, 5, (5, 1, 8, 8)) / 4  # of which many are half-way
    graph = imported(model, path)
    assert graph.input_nodes[0].ties == "odd"
    assert real_output(graph, images).tolist() == reference(model, images).tolist()


@pytest.mark.parametrize(
    ("mode", "signed", "ties"),
    [("ROUND", 1, "even"), ("HALF_EVEN", 0, "even"), ("HALF_UP", 0, "up"), ("FLOOR", 1, "up")],
)
def test_ties_of_the_input_go_where_those_of_the_model_go(mode, signed, ties, path):
    b = Build(shape=(1, 1, 8, 8))
    x = b.op("Add", ["x", b.const(2.0**-4)]) if mode == "FLOOR" else "x"
    x = b.flat(b.quant(x, 2.0**-3, 4, signed, 0, mode))
    model = b.model(b.head(x, 64))
    images = (b.rng.integers(-20, 20, (20, 1, 8, 8)) / 16).astype(np.float32)
    graph = imported(model, path)
    assert graph.input_nodes[0].ties == ties
    assert real_output(graph, images).tolist() == reference(model, images).tolist()


@pytest.mark.parametrize(("mode", "signed"), [("HALF_DOWN", 0), ("HALF_UP", 1)])
def test_other_ties_of_the_input_are_refused(mode, signed, path):
    b = Build(shape=(1, 1, 8, 8))
    model = b.model(b.head(b.flat(b.quant("x", 2.0**-3, 4, signed, 0, mode)), 64))
    with pytest.raises(GraphError, match=rf"ties of the input go elsewhere .* \({mode}\)"):
        imported(model, path)


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.7])
def test_decimal_scales_floor_as_float32_does(scale, path):
    """0.5 / 0.1 is 5 in float32, although its 0.1 is a little more than a tenth."""
    b = Build()
    x = b.quant(b.op("Relu", [b.conv(b.image())]), scale, 4, 0)
    output = b.op("Div", [x, b.const(scale)])
    # What float32 makes of code * scale / scale.
    check(b, output, path, expected=lambda x: np.round(reference(b.model(output), x)))
