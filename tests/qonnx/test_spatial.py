"""Transposed convolutions, borders, interpolation, means: each against the executors."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.qonnx.importer import import_model
from nbqnn_train.qonnx.verify import verify
from tests.qonnx.models import Build, check, imported, real_output

MICROSOFT = "com.microsoft"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def transposed(b, x, inputs, outputs, kernel=(3, 3), group=1, bias=True, **more) -> str:
    given = [x, b.weight((inputs, outputs // group, *kernel))]
    if bias:
        given.append(b.const(b.rng.integers(-8, 8, outputs) / 16))
    return b.op("ConvTranspose", given, group=group, **more)


def padded(b, x, mode, *value) -> str:
    pads = b.const([0, 0, 1, 2, 0, 0, 2, 0], np.int64)
    return b.op("Pad", [x, pads, *map(b.const, value)], mode=mode)


def resized(b, x, *factors) -> str:
    scales = b.const([1, 1, *factors])
    place = "pytorch_half_pixel"
    return b.op("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode=place)


def averaged(b, x, kernel, **more) -> str:
    """Averages that do not count padding, in steps without ties."""
    x = b.op("AveragePool", [x], kernel_shape=[kernel, kernel], **more)
    return b.op("Add", [x, b.const(2.0**-9)])


FORMS = {
    "stride": lambda b, x: transposed(b, x, 4, 6, strides=[2, 2], pads=[1, 1, 1, 1]),
    "sides": lambda b, x: transposed(b, x, 4, 6, (4, 2), strides=[3, 2], pads=[0, 1, 2, 0]),
    "groups": lambda b, x: transposed(b, x, 4, 6, (2, 3), 2, bias=False, dilations=[1, 2]),
    "added": lambda b, x: transposed(b, x, 4, 3, strides=[2, 2], output_padding=[1, 0]),
    "to a shape": lambda b, x: transposed(b, x, 4, 3, strides=[2, 2], output_shape=[18, 15]),
    "same": lambda b, x: transposed(b, x, 4, 3, strides=[2, 2], auto_pad="SAME_UPPER"),
    "mirrored": lambda b, x: b.conv(padded(b, x, "reflect"), 4, 3),
    "border": lambda b, x: b.conv(padded(b, x, "edge"), 4, 3),
    "a number": lambda b, x: b.conv(padded(b, x, "constant", 0.5), 4, 3),
    "twice as large": lambda b, x: resized(b, x, 2, 2),
    "by axis": lambda b, x: b.op("Mul", [resized(b, x, 1, 4), b.const(1.5)]),
    "averages, 3 x 3": lambda b, x: averaged(b, x, 3, pads=[1, 1, 1, 1], strides=[2, 1]),
    "averages, ceil": lambda b, x: averaged(b, x, 3, ceil_mode=1, strides=[2, 3]),
    "averages, same": lambda b, x: averaged(b, x, 4, auto_pad="SAME_LOWER", strides=[4, 3]),
    "averages of zeros": lambda b, x: averaged(b, padded(b, x, "constant"), 2, pads=[1, 0, 0, 1]),
    "mean of three": lambda b, x: b.op("Mean", [x, b.op("Relu", [x]), b.quant(x, 0.5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_form(name, path):
    b = Build()
    x = FORMS[name](b, b.body())
    check(b, b.quant(b.op("Add", [x, b.const(2.0**-6)]), 2.0**-4, 8), path)


def test_a_border_that_no_code_stands_for(path):
    b = Build()
    model = b.model(b.conv(padded(b, b.body(), "constant", 0.51), 4, 3))
    with pytest.raises(
        GraphError, match=r"must pad with a value that its input can have, not 0\.51"
    ):
        imported(model, path)


# Channels last.


def last(b, x) -> str:
    return b.op("Transpose", [x], perm=[0, 2, 3, 1])


def first(b, x) -> str:
    return b.op("Transpose", [x], perm=[0, 3, 1, 2])


def verified(b, output, path, size) -> tuple:
    """Notes of the import, which gives what the model does."""
    path.write_bytes(b.model(output).SerializeToString())
    found = import_model(path)
    images = b.rng.uniform(-1, 1, (3, *size)).astype(np.float32)
    result = verify(path, found, images)
    assert result.mismatches == 0
    assert result.values > 5
    return found.notes


def test_channels_last_within(path):
    """As Keras models come: maps are transposed for each convolution and back."""
    b = Build(shape=(1, 6, 8, 2))
    pads = b.const([0, 1, 0, 0, 0, 0, 2, 0], np.int64)
    x = first(b, b.op("Pad", [b.image(), pads]))
    x = last(b, b.conv(x, bias=False))
    x = b.op("Add", [x, b.const([0.5, -0.25, 0, 1])])
    x = b.act(b.op("Mul", [x, b.const([[[[1, 2, 0.5, 1]]]])]))
    x = last(b, b.op("MaxPool", [first(b, x)], kernel_shape=[2, 2], strides=[2, 2]))
    short = b.op("Slice", [x, *(b.const([v], np.int64) for v in (0, 9, 2))])
    x = b.op("Concat", [x, short], axis=-1)
    means = b.op("ReduceMean", [x], axes=[1, 2], keepdims=0)
    flat = b.op("Reshape", [x, b.const([-1, 3 * 5 * 8], np.int64)])
    flat = b.quant(b.op("Relu", [flat]), 2.0**-4, 8, 0)
    bias = b.const(b.rng.integers(-8, 8, 5) / 16)
    left = b.op("Gemm", [flat, b.weight((5, 120)), bias], transB=1)
    right = b.op("MatMul", [flat, b.weight((120, 5))])
    means = b.op("MatMul", [b.quant(means, 2.0**-6), b.weight((8, 5))])
    parts = [b.quant(part, 2.0**-4) for part in (left, right, means)]
    x = b.quant(b.op("Sum", parts), 2.0**-4)
    assert verified(b, x, path, (2, 6, 8)) == ("input 'x' is taken channels first, (N, C, H, W)",)


def test_channels_last_at_the_end(path):
    b = Build()
    x = b.quant(b.op("Relu", [last(b, b.conv(b.image()))]), 2.0**-5, 8, 0)
    assert verified(b, x, path, (2, 8, 8)) == (
        f"output {x!r} is given channels first, (N, C, H, W)",
    )


def test_where_channels_cannot_be_first(path):
    b = Build()
    x = b.op("ReduceMax", [last(b, b.body())], axes=[3], keepdims=0)
    with pytest.raises(GraphError, match=r"an order of axes other than \(N, C, H, W\)"):
        imported(b.model(x), path)


def test_a_linear_layer_at_each_position(path):
    """As a dense layer of Keras on maps, first behind the input, then before a convolution."""
    b = Build(shape=(1, 6, 8, 2))
    x = b.op("Add", [b.op("MatMul", [b.image(), b.weight((2, 4))]), b.const([0.5, 0, -0.25, 1])])
    x = b.act(b.conv(first(b, b.act(x)), 4))
    x = b.quant(first(b, b.op("MatMul", [last(b, x), b.weight((4, 3))])), 2.0**-4)
    assert verified(b, x, path, (2, 6, 8)) == ("input 'x' is taken channels first, (N, C, H, W)",)


# What is repeated.

ONE = numpy_helper.from_array(np.array([1], np.int64))
REPEATS = {
    "a sum with channels": lambda b, x: b.op("Add", [x, pooled(b, x)]),
    "a sum with positions": lambda b, x: b.op("Add", [one(b, x, 1), x]),
    "a difference with columns": lambda b, x: b.op("Sub", [x, one(b, x, 8, 1)]),
    "a product with positions": lambda b, x: b.op("Mul", [one(b, x, 1), x]),
    "a product with one number": lambda b, x: b.op("Mul", [x, one(b, x, 8)]),
    "channels times positions": lambda b, x: b.op("Mul", [pooled(b, x), one(b, x, 1)]),
    "expand": lambda b, x: b.op("Expand", [pooled(b, x), b.const([1, 4, 8, 8], np.int64)]),
    "expand channels": lambda b, x: b.op("Expand", [one(b, x, 1), b.const([4, 1, 1], np.int64)]),
    "expand nothing": lambda b, x: b.op("Expand", [x, b.const([1, 1], np.int64)]),
    "tile": lambda b, x: b.op(
        "Slice",
        [b.op("Tile", [x, b.const([1, 2, 1, 1], np.int64)]), *span(b, 2, 6)],
    ),
    "tile positions": lambda b, x: b.op("Tile", [pooled(b, x), b.const([1, 1, 8, 8], np.int64)]),
}


def pooled(b, x) -> str:
    return b.op("GlobalMaxPool", [x])


def one(b, x, *kernel) -> str:
    """One channel of windows of that size, and an activation."""
    kernel = (*kernel, kernel[0])[:2]
    return b.act(b.op("Conv", [x, b.weight((1, 4, *kernel))], kernel_shape=list(kernel)))


def span(b, start, end) -> list[str]:
    """Channels from one to another, as the inputs of a Slice."""
    return [b.const([value], np.int64) for value in (start, end, 1)]


@pytest.mark.parametrize("name", REPEATS)
def test_what_is_repeated(name, path):
    b = Build()
    check(b, b.head(b.flat(b.quant(REPEATS[name](b, b.body()), 2.0**-4)), 256), path)


@pytest.mark.parametrize(
    ("groups", "axes"), [((2, 2), (0, 2, 1, 3, 4)), ((1, 2, 2), (0, 1, 3, 2, 4, 5))]
)
def test_a_shuffle_of_channels_by_groups(groups, axes, path):
    b = Build()
    x = b.op("Reshape", [b.body(), b.const([1, *groups, 8, 8], np.int64)])
    x = b.op("Reshape", [b.op("Transpose", [x], perm=list(axes)), b.const([1, 4, 8, 8], np.int64)])
    check(b, b.head(b.flat(x), 256), path)


@pytest.mark.parametrize("axes", [(0, 1, 3, 2, 4), (0, 3, 1, 2, 4), (1, 0, 2, 3, 4)])
def test_other_orders_of_five_axes_are_refused(axes, path):
    b = Build()
    x = b.op("Reshape", [b.body(), b.const([1, 2, 2, 8, 8], np.int64)])
    x = b.op("Reshape", [b.op("Transpose", [x], perm=list(axes)), b.const([1, 4, 8, 8], np.int64)])
    with pytest.raises(GraphError, match=r"must flatten .* or only add or drop sizes of 1"):
        imported(b.model(x), path)


def test_a_shape_by_comparisons(path):
    """As PyTorch writes ``expand(-1, 4, 8, 8)``."""
    b = Build()
    wanted = b.const([-1, 4, 8, 8], np.int64)
    same = b.op("Equal", [wanted, b.const(-1, np.int64)])
    ones = b.op("ConstantOfShape", [b.const([4], np.int64)], value=ONE)
    x = b.op("Expand", [pooled(b, b.body()), b.op("Where", [same, ones, wanted])])
    check(b, b.head(b.flat(x), 256), path)


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("Expand", [2, 1, 1, 1], r"shape must repeat axes of size 1 of \[1, 4, 8, 8\] behind the"),
        ("Tile", [1, 1, 2, 1], r"repeats must be of channels, or of axes of size 1, of \[1, 4, 8"),
        ("Tile", [2, 1, 1, 1], r"repeats must be of channels, or of axes of size 1, of \[1, 4, 8"),
    ],
)
def test_what_cannot_be_repeated(kind, numbers, message, path):
    b = Build()
    x = b.op(kind, [b.body(), b.const(numbers, np.int64)])
    with pytest.raises(GraphError, match=message):
        imported(b.model(x), path)


# ONNX's own quantizers.


@pytest.mark.parametrize("domain", ["", MICROSOFT])
def test_pairs(domain, path):
    """Also of onnxruntime's domain, and with weights of 4 bits."""
    b = Build(opset=21)
    codes = b.rng.choice([-4, -2, -1, 0, 1, 2, 4], (4, 2, 3, 3))
    kind = TensorProto.INT8 if domain else TensorProto.INT4
    for name, values in (("w", codes), ("z", np.zeros((), int))):
        b.initializers.append(helper.make_tensor(name, kind, values.shape, values.reshape(-1)))
    step, zero = b.const(2.0**-7), b.const(0, np.int8)

    def pair(x, step) -> str:
        integers = b.op("QuantizeLinear", [x, step, zero], domain)
        return b.op("DequantizeLinear", [integers, step, zero], domain)

    weight = b.op("DequantizeLinear", ["w", b.const(0.25), "z"], domain)
    x = b.op("Conv", [pair("x", step), weight], pads=[1, 1, 1, 1])
    # Steps of which no sum is half-way.
    x = pair(b.op("Add", [x, b.const(2.0**-10)]), b.const(2.0**-5))
    graph = imported(b.model(x, ir_version=10), path)
    images = np.round(b.images() * 128) / 128
    real = np.ldexp(codes.astype(np.float64), -2)
    around = np.pad(images.clip(-1, 127 / 128), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (2, 3))
    sums = np.einsum("nihwjk,oijk->nohw", windows, real)
    wanted = np.floor((sums + 2.0**-10) * 32 + 0.5).clip(-128, 127) / 32
    assert real_output(graph, images).tolist() == wanted.tolist()


# Names.


@pytest.mark.parametrize("taken", ["y_2", "2 of y"])
def test_a_sum_of_three_takes_no_name_that_is_there(taken, path):
    b = Build()
    parts = [b.body()]
    parts += [b.quant(parts[0], 0.5), b.op("Relu", parts)]
    b.nodes.append(helper.make_node("Identity", [parts[1]], [taken]))
    b.nodes.append(helper.make_node("Sum", parts, ["y"]))
    both = b.op("Add", [b.quant("y", 2.0**-4), b.quant(taken, 2.0**-4)])
    check(b, b.quant(both, 2.0**-4), path)


def test_operators_of_one_name_take_weights_in_orders_of_their_own(path):
    """The same weights behind maps of two shapes, channels last."""
    b = Build()
    x = b.body()
    small = b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    deep = b.op("MaxPool", [x], kernel_shape=[2, 8], strides=[2, 8])
    deep = b.act(b.conv(deep, 4, 16, 1))
    weight, flat = b.weight((64, 5)), b.const([-1, 64], np.int64)
    products = []
    for part in (small, deep):
        products.append(b.op("MatMul", [b.op("Reshape", [last(b, part), flat]), weight]))
        b.nodes[-1].name = "same"
    both = b.op("Add", [b.quant(product, 2.0**-4) for product in products])
    check(b, b.quant(both, 2.0**-4), path)


def test_an_output_without_a_name_is_none(path):
    """Behind a Dropout without its mask an operator that leaves an optional input out."""
    b = Build()
    x = b.body()
    b.nodes.append(helper.make_node("Dropout", [last(b, x)], ["dropped", ""]))
    parts = b.op("Split", ["dropped", b.const([2, 2], np.int64)], outputs=2, axis=3)
    parts = b.op("Concat", [f"{parts}_1", parts], axis=3)
    larger = b.op(
        "Resize",
        [parts, "", b.const([1, 2, 2, 1])],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    other = b.op("Clip", [x, "", b.const(1.5)])
    means = [
        b.quant(b.op("ReduceMean", [part], axes=axes, keepdims=0), 2.0**-9)
        for part, axes in ((larger, [1, 2]), (other, [2, 3]))
    ]
    assert verified(b, b.quant(b.op("Add", means), 2.0**-6), path, (2, 8, 8)) == ()
