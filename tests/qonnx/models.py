"""Models operator by operator, and what qonnx's own executor makes of them."""

import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nbqnn_train.graph import run, tensor_types
from nbqnn_train.qonnx import import_qonnx

GENERAL = "qonnx.custom_op.general"


class Build:
    """A model that grows; methods return names of tensors.

    shape : of the input ``x``. constants : whether constants are Constant nodes.
    """

    def __init__(self, shape=(1, 2, 8, 8), opset=13, seed=0, domain=GENERAL, constants=False):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers = [], []
        self.count = 0
        self.shape, self.opset, self.domain = shape, opset, domain
        self.constants = constants

    def const(self, value, dtype=np.float32) -> str:
        array = np.array(value, dtype=dtype)
        self.count += 1
        name = f"c{self.count}"
        tensor = numpy_helper.from_array(array, name)
        if self.constants:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def op(self, kind, inputs, domain="", outputs=1, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        node = helper.make_node(kind, inputs, names, name=f"{kind}_{name}", domain=domain)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(node)
        return name

    def quant(self, x, scale, bits=8, signed=1, narrow=0, mode="FLOOR", zero=0.0) -> str:
        inputs = [x, self.const(scale), self.const(zero), self.const(float(bits))]
        return self.op(
            "Quant", inputs, self.domain, signed=signed, narrow=narrow, rounding_mode=mode
        )

    def weight(self, shape) -> str:
        values = self.rng.choice([-0.5, -0.25, 0, 0.25, 0.5], shape)
        return self.quant(self.const(values), 0.25, 4, narrow=1, mode="ROUND")

    def image(self, x="x", step=2.0**-7) -> str:
        """Codes of 8 bits; half a step and floor, so that no ties go to even."""
        return self.quant(self.op("Add", [x, self.const(step / 2)]), step)

    def conv(self, x, i=2, o=4, k=3, bias=True, **attributes) -> str:
        attributes = {"pads": [k // 2] * 4, "kernel_shape": [k, k], **attributes}
        attributes = {name: v for name, v in attributes.items() if v is not None}
        inputs = [x, self.weight((o, i // attributes.get("group", 1), k, k))]
        if bias:
            inputs.append(self.const(self.rng.integers(-8, 8, o) / 16))
        return self.op("Conv", inputs, **attributes)

    def act(self, x, mode="FLOOR") -> str:
        return self.quant(self.op("Relu", [x]), 2.0**-5, 8, 0, mode=mode)

    def body(self) -> str:
        """An image, a convolution to (4, 8, 8), an activation."""
        return self.act(self.conv(self.image()))

    def flat(self, x) -> str:
        return self.op("Flatten", [x], axis=1)

    def head(self, x, n) -> str:
        """A linear layer to 5 outputs and their quantizer."""
        bias = self.const(self.rng.integers(-8, 8, 5) / 16)
        return self.quant(self.op("Gemm", [x, self.weight((5, n)), bias], transB=1), 2.0**-4)

    def model(self, *outputs, ir_version=8) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.initializers,
        )
        domains = sorted({node.domain for node in self.nodes if node.domain})
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in domains]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)

    def images(self, count=3) -> np.ndarray:
        return self.rng.uniform(-1, 1, (count, *self.shape[1:])).astype(np.float32)


def reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The first output, image by image, by qonnx's executor."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(model, make_deepcopy=True).transform(InferShapes())
        name = wrapped.graph.output[0].name
        images = (execute_onnx(wrapped, {"x": x[i : i + 1]})[name] for i in range(len(x)))
        return np.concatenate([np.asarray(image) for image in images])


def imported(model: onnx.ModelProto, path, **options):
    """The graph of ``model``, by way of the file ``path``."""
    path.write_bytes(model.SerializeToString())
    return import_qonnx(path, **options)


def real_output(graph, x: np.ndarray) -> np.ndarray:
    """What the graph's first output stands for."""
    codes = run(graph, x.reshape(len(x), *graph.input_nodes[0].shape))
    codes = codes[0] if isinstance(codes, tuple) else codes
    return np.ldexp(codes.astype(np.float64), tensor_types(graph)[graph.outputs[0]].exponent)


def check(build: Build, output: str, path, *, exact=True, expected=None) -> None:
    """The graph of ``build`` computes what qonnx's executor does, and not a constant."""
    model, x = build.model(output), build.images()
    found = real_output(imported(model, path, exact=exact), x)
    wanted = reference(model, x) if expected is None else expected(x)
    assert found.reshape(wanted.shape).tolist() == wanted.tolist()
    assert len(np.unique(wanted)) > 2
