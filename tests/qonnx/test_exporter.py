"""QONNX models are valid and independent executors compute the interpreter's codes from them."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import Graph, GraphError, Input, Linear, Requantize, run, tensor_types
from nbqnn_train.qonnx import export_qonnx
from tests.graph.strategies import BASIC, Space, graphs
from tests.nightly import examples

_BATCH = 2
#: Weights of more than 4 bits soon leave what float32 can sum.
_SPACE = Space(kinds=BASIC, weight_bits=(2, 3, 4))
_OPERATORS = Space(weight_bits=(2, 3))


def _images(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Float32 images around the range of each input, ties included."""
    random = np.random.default_rng(seed)
    images = {}
    for node in graph.input_nodes:
        code = tensor_types(graph)[node.name]
        codes = random.uniform(code.low - 2, code.high + 2, (_BATCH, *code.shape))
        ties = np.floor(codes) + 0.5
        x = np.where(random.random(codes.shape) < 0.3, ties, codes)
        images[node.name] = np.ldexp(x, code.exponent).astype(np.float32)
    return images


def _expected(graph: Graph, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Real values of every activation, by the name of its tensor in the model."""
    types = tensor_types(graph)
    return {
        f"{name}#quantized" if isinstance(graph[name], Input) else name: np.ldexp(
            codes.astype(np.float64), types[name].exponent
        )
        for name, codes in run(graph, images, trace=True).items()
        if not types[name].is_accumulator
    }


@settings(max_examples=examples(60))
@given(graph=graphs(_SPACE) | graphs(_OPERATORS), seed=st.integers(0, 2**32 - 1))
def test_onnxruntime_computes_the_codes(graph, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_qonnx(graph, path, batch=_BATCH, quantizers=False)
    model = onnx.load(path)
    # Every tensor becomes an output: all nodes are compared, not only the last.
    images = _images(graph, seed)
    expected = _expected(graph, images)
    given_outputs = {output.name for output in model.graph.output}
    infos = {info.name: info for info in model.graph.value_info}
    model.graph.output.extend(infos[name] for name in expected if name not in given_outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    results = session.run(list(expected), images)
    for (name, values), result in zip(expected.items(), results, strict=True):
        assert result.tolist() == values.tolist(), name


@pytest.mark.parametrize("images", [1, 3])
def test_a_model_takes_any_number_of_images(images, tmp_path):
    graph = _linear(3, 65535)
    export_qonnx(graph, tmp_path / "model.onnx", quantizers=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    x = np.arange(100, 100 * images + 1, 100, dtype=np.float32).reshape(images, 1)
    (y,) = session.run(None, {"x": x})
    # A weight of 4 and a factor of nearly 1 / 16.
    assert y.tolist() == run(graph, x).tolist() == [[25.0], [50.0], [75.0]][:images]
    model = onnx.load(tmp_path / "model.onnx")
    for info in (*model.graph.input, *model.graph.output):
        assert not info.type.tensor_type.shape.dim[0].HasField("dim_value")


@settings(max_examples=20)
@given(graph=graphs(_SPACE) | graphs(_OPERATORS), seed=st.integers(0, 2**32 - 1))
@pytest.mark.filterwarnings("ignore")
def test_qonnx_computes_the_codes(graph, seed, tmp_path_factory):
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    path = tmp_path_factory.mktemp("qonnx") / "model.onnx"
    export_qonnx(graph, path, batch=_BATCH)
    images = _images(graph, seed)
    results = execute_onnx(ModelWrapper(str(path)), images, return_full_exec_context=True)
    for name, values in _expected(graph, images).items():
        assert results[name].tolist() == values.tolist(), name


def _linear(weight_bits: int, multiplier: int, exponent: int = 0) -> Graph:
    """One layer on 16-bit codes with the largest weight."""
    nodes = (
        Input(name="x", shape=(1,), bits=16, signed=False, exponent=exponent),
        Linear(
            name="fc",
            input="x",
            weight=[[1 << (1 << weight_bits - 1) - 2]],
            weight_bits=weight_bits,
            weight_exponent=[0],
            acc_bits=48,
        ),
        Requantize(
            name="y",
            input="fc",
            multiplier=[multiplier],
            bias=[0],
            shift=[20],
            bits=8,
            signed=False,
            exponent=0,
            low=0,
            high=255,
        ),
    )
    return Graph(nodes=nodes, outputs=("y",))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (_linear(6, 1), "Linear 'fc': float32 sums cannot hold weights of 1073741824 in abs"),
        (_linear(3, 1, -100), "Input 'x': QONNX holds exponents -90..90 only, not -100"),
        (replace(_linear(3, 1), outputs=()), "Graph outputs must be"),
    ],
)
def test_what_floating_point_cannot_hold_is_refused(graph, message, tmp_path):
    with pytest.raises(GraphError, match=message):
        export_qonnx(graph, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_sums_beyond_float64_are_refused(tmp_path):
    graph = _linear(5, 65535)
    x, fc, y = graph.nodes
    many = replace(fc, weight=[[1 << 14] * 256])
    graph = replace(graph, nodes=(replace(x, shape=(256,)), many, replace(y, bias=[1 << 46])))
    with pytest.raises(GraphError, match=r"'y': float64 cannot hold acc .* exactly"):
        export_qonnx(graph, tmp_path / "model.onnx")


def test_the_model_is_valid_deterministic_and_named(tmp_path):
    graph = _linear(3, 1)
    export_qonnx(graph, tmp_path / "a.onnx")
    export_qonnx(graph, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model)
    assert [i.name for i in model.graph.input] == ["x"]
    assert [o.name for o in model.graph.output] == ["y"]
    quantizers = {n.output[0] for n in model.graph.node if n.op_type == "Quant"}
    assert quantizers == {"x#quantized", "fc#weight", "y"}


def test_the_file_must_be_writable(tmp_path):
    with pytest.raises(GraphError, match="cannot be written: No such file"):
        export_qonnx(_linear(3, 1), tmp_path / "no" / "model.onnx")
