"""Functions of one element and orders of pixels, each against qonnx's executor, and tables there
and back."""

import numpy as np
import pytest

from nbqnn_train.graph import Conv2d, Graph, GraphError, Input, Requantize, Table, run
from nbqnn_train.qonnx import export_qonnx, import_qonnx
from tests.qonnx.models import Build, check, imported

_FUNCTIONS = {
    "LeakyRelu": {"alpha": 0.1},
    "Elu": {"alpha": 0.5},
    "Selu": {},
    "Celu": {"alpha": 2.0},
    "HardSigmoid": {"alpha": 1 / 6, "beta": 0.5},
    "HardSwish": {},
    "Tanh": {},
    "Sigmoid": {},
    "Softplus": {},
    "Softsign": {},
    "Erf": {},
    "Exp": {},
    "Abs": {},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("kind", _FUNCTIONS)
def test_a_function_becomes_a_table(kind, path):
    b = Build(opset=14)
    x = b.quant(b.conv(b.image()), 2.0**-4)
    y = b.quant(b.op(kind, [x], **_FUNCTIONS[kind]), 2.0**-5, mode="ROUND")
    check(b, b.head(b.flat(y), 256), path)
    graph = imported(b.model(y), path)
    assert [type(node) for node in graph.nodes][-1] is Table


def test_a_slope_of_all_channels(path):
    b = Build()
    x = b.quant(b.conv(b.image()), 2.0**-4)
    y = b.quant(b.op("PRelu", [x, b.const([[[0.3]]])]), 2.0**-5, mode="ROUND")
    check(b, y, path)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 1.0])
def test_a_power(exponent, path):
    b = Build()
    x = b.quant(b.conv(b.image()), 2.0**-3, 6)
    y = b.quant(b.op("Pow", [x, b.const(exponent)]), 2.0**-3, 10, mode="ROUND")
    check(b, y, path)


def test_powers_by_channel_are_refused(path):
    b = Build()
    x = b.op("Pow", [b.body(), b.const(np.ones((4, 1, 1)))])
    with pytest.raises(GraphError, match=r"Pow .*: exponent must be one number, not 4"):
        imported(b.model(b.quant(x, 2.0**-5)), path)


def test_a_gate_is_a_table_and_a_product(path):
    """A sigmoid within the network is computed, at its end it is left out."""
    b = Build()
    x = b.quant(b.conv(b.image()), 2.0**-4)
    gate = b.quant(b.op("Sigmoid", [x]), 2.0**-8, signed=0, mode="ROUND")
    check(b, b.quant(b.op("Mul", [x, gate]), 2.0**-4), path)


def test_what_is_infinite_is_refused(path):
    b = Build()
    x = b.quant(b.conv(b.image()), 2.0**-4)
    with pytest.raises(GraphError, match=r"Sqrt .*: must be finite for every code of its input"):
        imported(b.model(b.quant(b.op("Sqrt", [x]), 2.0**-5)), path)


def test_a_table_comes_back(path):
    rng = np.random.default_rng(0)
    graph = Graph(
        nodes=(
            Input(name="x", shape=(2, 3, 3), bits=6, signed=True, exponent=-3),
            Table(
                name="f",
                input="x",
                table=rng.integers(-8, 8, 64),
                bits=4,
                signed=True,
                exponent=-1,
            ),
            Conv2d(
                name="conv",
                input="f",
                weight=np.ones((1, 2, 1, 1), np.int64),
                weight_bits=2,
                weight_exponent=[0],
                acc_bits=6,
            ),
            Requantize(
                name="y",
                input="conv",
                multiplier=[1],
                bias=[0],
                shift=[0],
                bits=5,
                signed=True,
                exponent=-1,
                low=-16,
                high=15,
            ),
        ),
        outputs=("y",),
    )
    export_qonnx(graph, path, batch=1)
    back = import_qonnx(path)
    assert [type(node) for node in back.nodes].count(Table) == 1
    images = rng.normal(size=(20, 2, 3, 3)).astype(np.float32)
    assert run(back, images).tolist() == run(graph, images).tolist()


_ORDERS = {
    "pixel shuffle": ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}),
    "depth to space": ("DepthToSpace", {"blocksize": 2}),
    "space to depth": ("SpaceToDepth", {"blocksize": 4}),
}


@pytest.mark.parametrize("name", _ORDERS)
def test_orders_of_pixels(name, path):
    b = Build()
    kind, attributes = _ORDERS[name]
    check(b, b.op(kind, [b.body()], **attributes), path)


@pytest.mark.parametrize("spans", [((-1, -100, -1), (0, 8, 1)), ((6, 1, -2), (-2, -8, -1))])
def test_mirror_images(spans, path):
    b = Build()
    lists = [b.const(list(values), np.int64) for values in zip(*spans, strict=True)]
    starts, ends, steps = lists
    y = b.op("Slice", [b.body(), starts, ends, b.const([2, 3], np.int64), steps])
    check(b, y, path)
