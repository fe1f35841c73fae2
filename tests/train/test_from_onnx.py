"""ONNX files as networks that learn, against onnxruntime and against what others wrote down."""

import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nbqnn_train.convert import NetworkRefused, QuantConfig, calibrate, convert
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models import build_model
from nbqnn_train.models.from_onnx import onnx_network
from tests.nightly import NIGHTLY
from tests.train.exactness import assert_exact

#: Models that come with the package onnx: one operator each, as PyTorch once exported it, with an
#: input and the output for it; and well-known networks.
PUBLIC = Path(onnx.__file__).parent / "backend" / "test" / "data"
OPERATORS = """
    ConstantPad2d Conv1d Conv1d_dilated Conv1d_groups Conv1d_pad1 Conv1d_pad1size1 Conv1d_pad2
    Conv1d_pad2size1 Conv1d_stride Conv2d Conv2d_depthwise Conv2d_depthwise_padded
    Conv2d_depthwise_strided Conv2d_depthwise_with_multiplier Conv2d_dilated Conv2d_groups
    Conv2d_groups_thnn Conv2d_no_bias Conv2d_padding Conv2d_strided ConvTranspose2d
    ConvTranspose2d_no_bias ELU LeakyReLU LeakyReLU_with_negval Linear_no_bias LogSoftmax MaxPool1d
    MaxPool1d_stride MaxPool2d MaxPool2d_stride_padding_dilation PixelShuffle ReLU ReflectionPad2d
    ReplicationPad2d SELU Sigmoid Softmax Softmin Softplus Tanh ZeroPad2d log_softmax_dim3
    log_softmax_lastdim softmax_functional_dim3 softmax_lastdim operator_clip operator_concat2
    operator_conv operator_convtranspose operator_exp operator_flatten operator_index operator_max
    operator_maxpool operator_min operator_pad operator_reduced_mean
    operator_reduced_mean_keepdim operator_reduced_sum operator_reduced_sum_keepdim
    operator_repeat operator_repeat_dim_overflow operator_selu operator_sqrt
"""
#: Networks and the number of parameters that are published for them.
NETWORKS = {"squeezenet": 1_235_496}
if NIGHTLY:
    NETWORKS |= {"resnet50": 25_557_032, "vgg19": 143_667_240}


@pytest.mark.parametrize("name", OPERATORS.split())
def test_public_operator(name):
    kind = "pytorch-operator" if name.startswith("operator_") else "pytorch-converted"
    folder = PUBLIC / kind / f"test_{name}"
    network = onnx_network(folder / "model.onnx")
    data = folder / "test_data_set_0"
    inputs = [torch.from_numpy(read_tensor(path)) for path in sorted(data.glob("input_*.pb"))]
    with torch.no_grad():
        found = network(*inputs)
    wanted = read_tensor(data / "output_0.pb")
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


def read_tensor(path: Path) -> np.ndarray:
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes())).copy()


@pytest.mark.parametrize(("name", "parameters"), list(NETWORKS.items()))
def test_public_network(name, parameters):
    network = onnx_network(PUBLIC / "light" / f"light_{name}.onnx")
    assert sum(p.numel() for p in network.parameters()) == parameters
    convert(network, QuantConfig(), torch.zeros(1, 3, 224, 224))


class Mixed(nn.Module):
    """Layers of many kinds, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.mean = nn.AvgPool2d(2)
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(8 * 4, 5)

    def forward(self, x):
        x = self.stem((x - 0.5) * 2)
        x = self.pool(x + self.deep(torch.relu(self.deep(x))))
        x = self.mean(torch.cat([self.left(x), self.right(x)], 1))
        return self.head(self.drop(x.flatten(1))).softmax(1)


class Vectors(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


class Series(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv1d(2, 6, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
            nn.Linear(6, 3),
        )  # fmt: skip


def exported(module: nn.Module, shape: tuple[int, ...], path: Path, **options) -> Path:
    """``module`` as PyTorch's own exporter writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, *shape),), path, dynamo=False, **options)
    return path


def trained(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """With statistics of batch norm that are not those at the beginning."""
    module.train()
    module(torch.randn(16, *shape))
    return module.eval()


CASES = {
    "maps": (Mixed, (3, 8, 8), {}),
    "vectors": (Vectors, (12,), {}),
    "series": (Series, (2, 16), {}),
    "free batch": (Mixed, (3, 8, 8), {"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]}),
    "old": (Mixed, (3, 8, 8), {"opset_version": 9}),
    "as trained": (Mixed, (3, 8, 8), {"training": torch.onnx.TrainingMode.PRESERVE}),
}


@pytest.mark.parametrize("case", CASES)
def test_exported_network(case, tmp_path):
    kind, shape, options = CASES[case]
    torch.manual_seed(0)
    module = trained(kind(), shape)
    network = onnx_network(exported(module, shape, tmp_path / "net.onnx", **options))
    x = torch.randn(5, *shape)
    with torch.no_grad():
        torch.testing.assert_close(network(x), module(x), rtol=1e-4, atol=1e-6)
    quantized = convert(network, QuantConfig(), x)
    calibrate(quantized, [x])
    assert_exact(quantized, x.numpy())


def test_everything_that_learned_learns_on(tmp_path):
    torch.manual_seed(0)
    module = trained(Mixed(), (3, 8, 8))
    options = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    network = onnx_network(exported(module, (3, 8, 8), tmp_path / "net.onnx", **options))
    sizes = sorted(p.numel() for p in network.parameters())
    assert sizes == sorted(p.numel() for p in module.parameters())
    network.train()(torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_layers_that_begin_equal_are_not_one(tmp_path):
    """PyTorch's exporter writes equal numbers once; a layer that is used twice stays one."""
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU()).eval()
    for layer in (module[0], module[2]):
        nn.init.zeros_(layer.bias)
    network = onnx_network(exported(module, (4, 5, 5), tmp_path / "two.onnx"))
    assert len(list(network.parameters())) == 4
    twice = nn.Sequential(module[0], nn.ReLU(), module[0])
    network = onnx_network(exported(twice, (4, 5, 5), tmp_path / "one.onnx"))
    assert len(list(network.parameters())) == 2


# Models written by hand.


def written(path: Path, nodes, shape, constants=None, opset=17, output="y") -> Path:
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [out], out, **more) for kind, inputs, out, more in nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


HAND_WRITTEN = {
    "fixed batch": (
        [("Reshape", ["x", "s"], "r", {}), ("MatMul", ["r", "w"], "m", {}),
         ("Add", ["m", "b"], "y", {})],
        ["N", 2, 3, 3],
        {"s": np.array([1, 18]), "w": numbers(18, 4), "b": numbers(4)},
    ),
    "channels last": (
        [("Transpose", ["x"], "t", {"perm": [0, 3, 1, 2]}), ("Conv", ["t", "w"], "c", {}),
         ("Relu", ["c"], "y", {})],
        ["N", 6, 5, 3],
        {"w": numbers(4, 3, 3, 3)},
    ),
    "same padding": (
        [("Conv", ["x", "w"], "c", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
         ("MaxPool", ["c"], "y", {"auto_pad": "SAME_LOWER", "kernel_shape": [2, 2]})],
        [1, 3, 7, 6],
        {"w": numbers(4, 3, 4, 3)},
    ),
    "factors": (
        [("Gemm", ["x", "w", "b"], "g", {"alpha": 0.5, "beta": 2.0, "transB": 1}),
         ("Clip", ["g", "low", ""], "y", {})],
        ["N", 7],
        {"w": numbers(5, 7), "b": numbers(1, 5), "low": np.float32(0)},
    ),
    "a mean": (
        [("Conv", ["x", "w"], "c", {}), ("ReduceMean", ["c"], "m", {"axes": [2, 3], "keepdims": 0}),
         ("Mul", ["m", "k"], "y", {})],
        [4, 3, 7, 6],
        {"w": numbers(4, 3, 3, 3), "k": np.float32(0.25)},
    ),
    "averages of SAME": (
        [("AveragePool", ["x"], "a", {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 3],
                                      "strides": [2, 2]}),
         ("AveragePool", ["a"], "y", {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3],
                                      "strides": [2, 2]})],
        ["N", 3, 16, 12],
        {},
    ),
    "transposed to a size": (
        [("ConvTranspose", ["x", "w"], "a", {"strides": [2, 2], "output_shape": [10, 8]}),
         ("ConvTranspose", ["a", "v"], "b", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
         ("ConvTranspose", ["b", "v"], "y", {"pads": [0, 1, 2, 0]})],
        ["N", 3, 5, 4],
        {"w": numbers(3, 4, 3, 3), "v": numbers(4, 4, 3, 3)},
    ),
    "backwards": (
        [("Conv", ["x", "w"], "c", {}), ("Slice", ["c", "s", "e", "a", "t"], "b", {}),
         ("Mean", ["b", "b", "c"], "y", {})],
        ["N", 3, 5, 4],
        {"w": numbers(6, 3, 1, 1), "s": np.array([-1, 9]), "e": np.array([-9, -9]),
         "a": np.array([1, 3]), "t": np.array([-1, -1])},
    ),
    "resized": (
        [("Conv", ["x", "w"], "c", {}),
         ("Resize", ["c", "", "", "s"], "r", {"mode": "cubic"}),
         ("Resize", ["r", "", "k"], "y", {"mode": "linear",
                                          "coordinate_transformation_mode": "align_corners"})],
        ["N", 3, 5, 4],
        {"w": numbers(6, 3, 1, 1), "s": np.array([1, 6, 8, 7]),
         "k": np.array([1, 1, 1.5, 2], np.float32)},
    ),
    "a resized series": (
        [("Conv", ["x", "w"], "c", {}), ("Resize", ["c", "", "k"], "y", {"mode": "linear"})],
        ["N", 3, 6],
        {"w": numbers(6, 3, 1), "k": np.array([1, 1, 1.5], np.float32)},
    ),
    "a shuffle at the end": (
        [("Conv", ["x", "w"], "c", {}), ("Reshape", ["c", "s"], "r", {}),
         ("Transpose", ["r"], "t", {"perm": [0, 2, 1, 3, 4]}), ("Reshape", ["t", "f"], "y", {})],
        ["N", 3, 5, 4],
        {"w": numbers(6, 3, 1, 1), "s": np.array([0, 2, 3, 5, 4]), "f": np.array([-1, 6, 5, 4])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_hand_written(name, tmp_path):
    nodes, shape, constants = HAND_WRITTEN[name]
    network = onnx_network(written(tmp_path / "net.onnx", nodes, shape, constants))
    size = tuple(shape[1:]) if name != "channels last" else (3, 6, 5)
    x = torch.randn(4, *size)
    quantized = convert(network, QuantConfig(), x)
    calibrate(quantized, [x])
    assert_exact(quantized, x.numpy())


REFUSED = {
    "operators": (
        [("Sinh", ["x"], "a", {}), ("GRU", ["a", "w", "w"], "b", {"hidden_size": 3}),
         ("QuantizeLinear", ["b", "k"], "y", {})],
        "3 kinds of refusals: Sinh 'a': this operator is not supported; GRU 'b': .*; "
        "QuantizeLinear 'y': this operator is not supported; the network is quantized: nbqnn "
        "import reads it",
    ),
    "the batch": (
        [("Softmax", ["x"], "a", {"axis": 0}), ("ReduceMean", ["a"], "y", {"axes": [0]})],
        r"ReduceMean 'y': axes must leave the batch alone, not hold 0",
    ),
    "images mixed": (
        [("Softmax", ["x"], "y", {"axis": 0})],
        "output 'y' of the module is not that of the file; remedy: .*",
    ),
    "shapes": (
        [("MatMul", ["x", "w"], "y", {})],
        "(cannot be run|shapes do not fit): .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    nodes, message = REFUSED[name]
    constants = {"w": numbers(1, 9, 4), "k": np.float32(0.5)}
    path = written(tmp_path / "net.onnx", nodes, ["N", 3, 4], constants)
    with pytest.raises(NbqnnError) as caught:
        onnx_network(path)
    assert re.fullmatch(rf"Model '{path}':? {message}", str(caught.value)), caught.value


def test_what_the_reader_refuses_has_the_operator_of_the_file(tmp_path):
    nodes = [
        ("Conv", ["x", "w"], "c", {}),
        ("Softmax", ["c"], "shares", {"axis": 1}),
        ("Neg", ["shares"], "y", {}),
    ]
    path = written(tmp_path / "net.onnx", nodes, [1, 3, 5, 5], {"w": numbers(2, 3, 3, 3)})
    with pytest.raises(NetworkRefused, match="softmax has no integer form, at shares; "):
        convert(onnx_network(path), QuantConfig(), torch.zeros(1, 3, 5, 5))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"])
def test_no_model(content, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(NbqnnError, match=f"Model '{path}'"):
        build_model(str(path), None, 3)


def test_a_free_height_is_refused_with_what_helps(tmp_path):
    shape = [None, 3, "H", "W"]
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))
    onnx.save(model, tmp_path / "free.onnx")
    message = r"not \(N, 3, H, W\); remedy: export the model with the sizes of its inputs fixed"
    with pytest.raises(NbqnnError, match=message):
        onnx_network(tmp_path / "free.onnx")


def test_comparisons_and_choices(tmp_path):
    number = numpy_helper.from_array(np.array(0.25, np.float32), "number")
    nodes = [
        helper.make_node("Greater", ["x", "number"], ["above"]),
        helper.make_node("LessOrEqual", ["x", "w"], ["below"]),
        helper.make_node("And", ["above", "below"], ["both"]),
        helper.make_node("Not", ["both"], ["outside"]),
        helper.make_node("Where", ["outside", "w", "x"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 4, 4]) for n in "xwy"]
    graph = helper.make_graph(nodes, "g", values[:2], values[2:], [number])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, tmp_path / "choices.onnx")
    network = onnx_network(tmp_path / "choices.onnx")
    x, w = torch.randn(2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.where((x > 0.25) & (x <= w), x, w)
    assert torch.equal(network(x, w), expected)
    converted = convert(network, QuantConfig(), (x, w))
    calibrate(converted, [(x, w)])
    assert_exact(converted, x.numpy(), w.numpy())
