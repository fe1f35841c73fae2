"""Small models by hand: a quantized input, a convolution of 2 x 2 weights, and more."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nbqnn_train.qonnx import import_qonnx

__all__ = ["CONSTANTS", "layer", "model_bytes", "quant_node", "read"]


def model_bytes(nodes, constants, shape=(1, 1, 4, 4), output="y") -> bytes:
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


def quant_node(
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


CONSTANTS = {
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


def layer(*more, weights="weight", bits="two", output="y"):
    """Quantized input, convolution by ``weights`` times one half, and ``more``."""
    return [
        quant_node("x", "q"),
        quant_node(weights, "w", scale="half", bits=bits, narrow=1),
        helper.make_node("Conv", ["q", "w"], ["conv"], name="conv", kernel_shape=[2, 2]),
        *more,
    ]


def read(tmp_path, nodes, exact=False, shape=(1, 1, 4, 4), **constants):
    (tmp_path / "model.onnx").write_bytes(model_bytes(nodes, CONSTANTS | constants, shape))
    return import_qonnx(tmp_path / "model.onnx", exact=exact)
