"""Files from strangers are at worst refused, in one line."""

import os
import re
import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nbqnn_train.graph import GraphError
from nbqnn_train.qonnx import import_qonnx
from tests.qonnx.layers import CONSTANTS, layer, model_bytes, quant_node
from tests.qonnx.models import Build, real_output, reference


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
    nodes = layer(
        helper.make_node("Relu", ["conv"], ["r"]),
        quant_node("r", "s"),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "fc"], ["g"], transB=1),
        helper.make_node("Mul", ["g", "half"], ["h"]),
        quant_node("h", "y"),
    )
    model = bytearray(model_bytes(nodes, CONSTANTS | {"fc": np.ones((2, 4), np.float32)}))
    for _ in range(data.draw(st.integers(1, 3))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    (folder / "model.onnx").write_bytes(model)
    message = ""
    try:
        import_qonnx(folder / "model.onnx", exact=False)
    except GraphError as error:
        message = str(error)
    assert "\n" not in message


def _refused(path) -> str:
    with pytest.raises(GraphError) as error:
        import_qonnx(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def _external(build: Build, path, location: str, **entries):
    """``build``'s model with the data of its largest constant in another file."""
    model = build.model(build.head(build.flat(build.body()), 256))
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return data


def test_data_beside_the_model_are_read(tmp_path):
    b = Build()
    data = _external(b, tmp_path / "model.onnx", "weights.bin", offset=16)
    (tmp_path / "weights.bin").write_bytes(bytes(16) + data)
    whole = Build()
    model = whole.model(whole.head(whole.flat(whole.body()), 256))
    images = whole.images()
    found = real_output(import_qonnx(tmp_path / "model.onnx"), images)
    assert found.tolist() == reference(model, images).tolist()


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../outside.bin", {}, "must lie in the model's folder, not in '../outside.bin'"),
        ("link.bin", {}, "must lie in the model's folder, not in 'link.bin'"),
        ("", {}, "must lie in the model's folder, not in ''"),
        ("none.bin", {}, "file 'none.bin' with data of 'c5' is missing"),
        ("short.bin", {"length": 1 << 40}, "must lie in the 4 bytes of 'short.bin'"),
        ("short.bin", {"offset": -4}, "must lie in the 4 bytes of 'short.bin'"),
        ("short.bin", {}, "must be a valid ONNX model"),
    ],
)
def test_data_elsewhere_are_refused(location, entries, message, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(1 << 16))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "short.bin").write_bytes(bytes(4))
    _external(Build(), folder / "model.onnx", location, **entries)
    text = _refused(folder / "model.onnx")
    assert re.sub(r"'c\d+'", "'c5'", message) in re.sub(r"'c\d+'", "'c5'", text)


def _grown(kind: str) -> bytes:
    """A small file that asks for a large tensor."""
    b = Build()
    if kind == "fill":
        shape = b.const([1, 1 << 15, 1 << 15, 1 << 10], np.int64)
        x = b.op("Add", [b.body(), b.op("ConstantOfShape", [shape])])
    elif kind == "range":
        x = b.op("Range", [b.const(0.0), b.const(1e12), b.const(1e-3)])
    elif kind == "expand":
        shape = b.const([1 << 20, 1 << 20], np.int64)
        x = b.op("Expand", [b.const([[1.0]]), shape])
    elif kind == "pad":
        x = b.op("Pad", [b.body(), b.const([0, 0, 1 << 40, 0, 0, 0, 1 << 40, 0], np.int64)])
    elif kind == "input":
        b.shape = (1, 1 << 40, 1 << 40, 8)
        x = b.body()
    elif kind == "kernel":
        x = b.op("MaxPool", [b.body()], kernel_shape=[1 << 40, 2])
    else:
        x = b.body()
        for _ in range(60):
            x = b.op("Concat", [x, x], axis=1)
    return b.model(x).SerializeToString()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["fill", "range", "expand", "pad", "input", "kernel", "doubled"])
def test_small_files_that_ask_for_much_are_refused(kind, tmp_path):
    (tmp_path / "model.onnx").write_bytes(_grown(kind))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(_refused(tmp_path / "model.onnx")) < 1000
    # KiB: no more than half a GiB on the way.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19


def test_what_is_no_file_or_no_tensor_of_numbers(tmp_path):
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    assert "cannot be read: not a file" in _refused(path)
    path.unlink()
    b = Build()
    b.nodes.append(helper.make_node("Constant", [], ["s"], value_string="text"))
    path.write_bytes(b.model(b.op("Add", [b.body(), "s"])).SerializeToString())
    assert "Constant 's' must hold numbers, not value_string" in _refused(path)
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("p", TensorProto.INT64, [1], [0])
    b = Build()
    sparse = helper.make_sparse_tensor(values, places, [4])
    b.nodes.append(helper.make_node("Constant", [], ["s"], sparse_value=sparse))
    path.write_bytes(b.model(b.op("Add", [b.body(), "s"])).SerializeToString())
    assert "Constant 's' must hold numbers, not sparse_value" in _refused(path)


def test_a_truncated_file(tmp_path):
    b = Build()
    data = b.model(b.head(b.flat(b.body()), 256)).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(1, len(data), len(data) // 40):
        path.write_bytes(data[:length])
        _refused(path)
