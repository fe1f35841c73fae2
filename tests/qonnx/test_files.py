"""Files from strangers are at worst refused, in one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from nbqnn_train.graph import GraphError
from nbqnn_train.qonnx import import_qonnx
from tests.qonnx.layers import CONSTANTS, layer, model_bytes, quant_node


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
