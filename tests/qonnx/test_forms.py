"""The forms in which exporters write one and the same network, each against qonnx's executor."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from nbqnn_train.graph.errors import GraphError
from tests.qonnx.models import GENERAL, Build, check, imported, real_output, reference


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def _before(change, **options) -> tuple[Build, str]:
    """``change`` between a convolution and its quantizer."""
    b = Build(**options)
    return b, b.head(b.flat(b.quant(change(b, b.conv(b.image())), 2.0**-5, 8, 0)), 256)


def _after(change, features=256, **options) -> tuple[Build, str]:
    """``change`` behind a quantizer, before a linear layer of as many features."""
    b = Build(**options)
    return b, b.head(change(b, b.body()), features)


#: Scale, offset, mean and variance of four channels.
_NORM = ([1, -2, 0.5, 1], [0.1, 0.2, -0.3, 0], [0, 1, -1, 0.5], [1, 2, 0.3, 4])
_ELEMENTWISE = {
    "clip": lambda b, x: b.op("Clip", [x, b.const(0.0), b.const(6.0)]),
    "clip within": lambda b, x: b.op("Clip", [x, b.const(0.0), b.const(2.0)]),
    "clip above zero": lambda b, x: b.op("Clip", [x, b.const(0.3)]),
    "clip below": lambda b, x: b.op("Clip", [x, "", b.const(1.7)]),
    "clip turned": lambda b, x: b.op("Neg", [b.op("Clip", [x, b.const(-1.0), b.const(0.5)])]),
    "min and max": lambda b, x: b.op("Max", [b.op("Min", [x, b.const(1.5)]), b.const(0.25)]),
    "relu, factor": lambda b, x: b.op("Mul", [b.op("Relu", [x]), b.const(0.75)]),
    "relu, addend": lambda b, x: b.op("Add", [b.op("Relu", [x]), b.const(-0.5)]),
    "neg": lambda b, x: b.op("Neg", [x]),
    "channels": lambda b, x: b.op("Mul", [x, b.const([[[1.0]], [[-0.5]], [[0.0]], [[1.25]]])]),
    "divided": lambda b, x: b.op("Div", [x, b.const(np.full((1, 4, 1, 1), 3.0))]),
    "from": lambda b, x: b.op("Sub", [b.const([[[1.0]], [[0.5]], [[0.0]], [[2.0]]]), x]),
    "full shape": lambda b, x: b.op("Add", [x, b.const(np.full((1, 4, 8, 8), 0.25))]),
    "floor": lambda b, x: b.op(
        "Div", [b.op("Floor", [b.op("Mul", [x, b.const(8.0)])]), b.const(8.0)]
    ),
    "round": lambda b, x: b.op("Round", [b.op("Mul", [x, b.const(3.3)])]),
    "ceil": lambda b, x: b.op("Ceil", [b.op("Mul", [x, b.const(3.3)])]),
    "twice": lambda b, x: b.op("Add", [x, x]),
    "sum": lambda b, x: b.op("Sum", [x, b.const(0.5)]),
    "dropout": lambda b, x: b.op("Dropout", [x]),
    "identity": lambda b, x: b.op("Identity", [x]),
    "cast": lambda b, x: b.op("Cast", [b.op("Cast", [x], to=11)], to=1),
    "batch norm": lambda b, x: b.op(
        "BatchNormalization",
        [
            x,
            *(
                b.const(v)
                for v in ([1, -2, 0.5, 1], [0.1, 0.2, -0.3, 0], [0, 1, -1, 0.5], [1, 2, 0.3, 4])
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", _ELEMENTWISE)
def test_element_by_element_before_a_quantizer(name, path):
    check(*_before(_ELEMENTWISE[name]), path)


def _shuffled(b: Build, x: str) -> str:
    name = b.op("Split", [x], outputs=2, axis=1)
    return b.op("Concat", [f"{name}_1", name], axis=1)


_SHAPES = {
    "flatten": (lambda b, x: b.flat(x), 256),
    "reshape": (lambda b, x: b.op("Reshape", [x, b.const([1, 256], np.int64)]), 256),
    "reshape, rest": (lambda b, x: b.op("Reshape", [x, b.const([0, -1], np.int64)]), 256),
    "reshape, batch left": (lambda b, x: b.op("Reshape", [x, b.const([-1, 256], np.int64)]), 256),
    "mean, squeezed": (
        lambda b, x: b.quant(
            b.op("Squeeze", [b.op("GlobalAveragePool", [x]), b.const([2, 3], np.int64)]), 2.0**-6
        ),
        4,
    ),
    "mean over axes": (
        lambda b, x: b.quant(b.op("ReduceMean", [x], axes=[2, 3], keepdims=0), 2.0**-6),
        4,
    ),
    "mean over the last axes": (
        lambda b, x: b.flat(b.quant(b.op("ReduceMean", [x], axes=[-1, -2]), 2.0**-6)),
        4,
    ),
    "mean over columns": (
        lambda b, x: b.flat(b.quant(b.op("ReduceMean", [x], axes=[3]), 2.0**-6)),
        32,
    ),
    "largest over axes": (lambda b, x: b.flat(b.op("ReduceMax", [x], axes=[2, 3])), 4),
    "global max": (lambda b, x: b.flat(b.op("GlobalMaxPool", [x])), 4),
    "max": (lambda b, x: b.flat(b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])), 64),
    "max, ceil_mode": (
        lambda b, x: b.flat(b.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
        64,
    ),
    "max, same": (
        lambda b, x: b.flat(
            b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER")
        ),
        256,
    ),
    "padded, max": (
        lambda b, x: b.flat(
            b.op(
                "MaxPool",
                [b.op("Pad", [b.op("Relu", [x]), b.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64)])],
                kernel_shape=[3, 3],
                strides=[3, 3],
            )
        ),
        36,
    ),
    "padded, quantized without zero": (
        lambda b, x: b.flat(
            b.quant(
                b.op("Pad", [x, b.const([0, 0, 1, 0, 0, 0, 0, 2], np.int64)]),
                *(2.0**-5, 2, 0, 1),
                zero=3.0,
            )
        ),
        360,
    ),
    "squeezed and back": (
        lambda b, x: b.op(
            "Squeeze",
            [b.op("Unsqueeze", [b.flat(x), b.const([2], np.int64)]), b.const([2], np.int64)],
        ),
        256,
    ),
    "column": (
        lambda b, x: b.op("Transpose", [b.op("Transpose", [b.flat(x)], perm=[1, 0])], perm=[1, 0]),
        256,
    ),
    "joined": (lambda b, x: b.flat(b.op("Concat", [x, x], axis=1)), 512),
    "joined, other formats": (
        lambda b, x: b.flat(b.op("Concat", [x, b.quant(x, 0.5, 4)], axis=-3)),
        512,
    ),
    "slice of channels": (
        lambda b, x: b.flat(b.op("Slice", [x, *(b.const([v], np.int64) for v in (3, 0, 1, -2))])),
        128,
    ),
    "slice of maps": (
        lambda b, x: b.flat(
            b.op(
                "Slice",
                [
                    x,
                    b.const([1, -6], np.int64),
                    b.const([7, 99], np.int64),
                    b.const([2, 3], np.int64),
                    b.const([2, 3], np.int64),
                ],
            )
        ),
        24,
    ),
    "split": (lambda b, x: b.flat(_shuffled(b, x)), 256),
    "gather": (
        lambda b, x: b.flat(b.op("Gather", [x, b.const([2, 0, -1], np.int64)], axis=1)),
        192,
    ),
    "upsample": (
        lambda b, x: b.flat(b.op("Resize", [x, "", b.const([1.0, 1, 2, 3])], mode="nearest")),
        1536,
    ),
    "product": (
        lambda b, x: b.flat(b.act(b.op("Mul", [x, b.quant(x, 0.5, 3)]))),
        256,
    ),
    "gate": (
        lambda b, x: b.flat(b.act(b.op("Mul", [b.op("GlobalMaxPool", [x]), x]))),
        256,
    ),
    "quantized twice": (lambda b, x: b.flat(b.quant(x, 2.0**-5, 8, 0)), 256),
    "limited": (lambda b, x: b.flat(b.op("Clip", [x, b.const(0.5), b.const(2.0)])), 256),
}


@pytest.mark.parametrize("name", _SHAPES)
def test_shapes_behind_a_quantizer(name, path):
    change, features = _SHAPES[name]
    check(*_after(change, features), path)


_MOVED = {
    "flatten": lambda b, x: b.quant(b.flat(b.op("Relu", [x])), 2.0**-5, 8, 0),
    "max": lambda b, x: b.flat(b.quant(b.op("MaxPool", [x], kernel_shape=[2, 2]), 2.0**-5, 8, 0)),
    "joined": lambda b, x: b.flat(
        b.quant(b.op("Concat", [x, b.op("Neg", [x])], axis=1), 2.0**-5, 8, 0)
    ),
    "max, flatten, relu": lambda b, x: b.quant(
        b.op("Relu", [b.flat(b.op("MaxPool", [x], kernel_shape=[2, 2]))]), 2.0**-5, 8, 0
    ),
    "padded": lambda b, x: b.flat(
        b.quant(b.op("Pad", [x, b.const([0, 0, 1, 0, 0, 0, 0, 1], np.int64)]), 2.0**-5, 8, 0)
    ),
}


@pytest.mark.parametrize("name", _MOVED)
def test_a_quantizer_moves_to_the_sums(name, path):
    features = {"max": 196, "max, flatten, relu": 196, "joined": 512, "padded": 324}
    b = Build()
    x = _MOVED[name](b, b.conv(b.image()))
    check(b, b.head(x, features.get(name, 256)), path)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("auto_pad", ["VALID", "SAME_UPPER", "SAME_LOWER"])
def test_padding_that_the_size_gives(auto_pad, stride, kernel, path):
    b = Build()
    x = b.conv(b.image(), k=kernel, pads=None, auto_pad=auto_pad, strides=[stride, stride])
    size = -(-(8 - (kernel - 1 if auto_pad == "VALID" else 0)) // stride)
    check(b, b.head(b.flat(b.act(x)), 4 * size * size), path)


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 15, 17])
def test_versions_of_the_operators(opset, path):
    """Limits, pads and axes are attributes in old ones, inputs in new ones."""
    b = Build(opset=opset)
    x = b.image()
    if opset < 11:
        x = b.op("Pad", [x], pads=[0, 0, 1, 0, 0, 0, 1, 0], mode="constant", value=0.0)
    else:
        x = b.op("Pad", [x, b.const([0, 0, 1, 0, 0, 0, 1, 0], np.int64), b.const(0.0)])
    x = b.act(b.conv(x, pads=[0, 0, 0, 0]))
    if opset < 11:
        x = b.op("Clip", [x], min=0.5, max=2.0)
    else:
        x = b.op("Clip", [x, b.const(0.5), b.const(2.0)])
    x = b.op("ReduceMean", [x], axes=[2, 3], keepdims=1)
    if opset < 13:
        x = b.op("Squeeze", [x], axes=[2, 3])
    else:
        x = b.op("Squeeze", [x, b.const([2, 3], np.int64)])
    check(b, b.head(b.quant(x, 2.0**-6), 4), path)


def test_the_long_name_of_onnx(path):
    """``ai.onnx`` is the domain of ONNX's own operators."""
    b = Build()
    model = b.model(b.body())
    plain = imported(model, path)
    for named in (*model.graph.node, *model.opset_import):
        named.domain = named.domain or "ai.onnx"
    assert imported(model, path) == plain
    model.opset_import.append(helper.make_opsetid("", 12))
    with pytest.raises(GraphError, match=r"domain 'ai\.onnx' must have one version, not 13 and 12"):
        imported(model, path)


def test_what_no_output_depends_on_is_left_out(path):
    b = Build()
    x = b.body()
    plain = imported(b.model(x), path)
    b.op("LRN", [x], size=3)
    assert imported(b.model(x), path) == plain


def test_an_output_that_is_listed_twice_is_refused(path):
    b = Build()
    x = b.body()
    with pytest.raises(GraphError, match=rf"output '{x}' is listed 2 times"):
        imported(b.model(x, x), path)


@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize("domain", [GENERAL, "onnx.brevitas", "finn.custom_op.general", ""])
@pytest.mark.parametrize("declared", [False, True])
def test_domains_of_quantizers(domain, constants, declared, path):
    builds = Build(domain=domain, constants=constants), Build()
    outputs = [b.head(b.flat(b.body()), 256) for b in builds]
    model, same = (b.model(output) for b, output in zip(builds, outputs, strict=True))
    if not declared:
        del model.opset_import[1:]
    x = builds[0].images()
    found = real_output(imported(model, path), x)
    assert found.tolist() == reference(same, x).tolist()


@pytest.mark.parametrize("form", ["value_float", "value_floats", "value_int", "value_ints"])
def test_forms_of_constants(form, path):
    b = Build()
    size = b.op("Reshape", [b.const(256, np.int64), b.const([1], np.int64)])
    target = b.op("Concat", [b.const([1], np.int64), size], axis=0)
    output = b.head(b.op("Reshape", [b.body(), target]), 256)
    model, images = b.model(output), b.images()
    expected = reference(model, images)
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        kind = "int" if values.dtype == np.int64 else "float"
        if form == f"value_{kind}" + "s" * values.ndim and values.ndim < 2:
            node = helper.make_node("Constant", [], [tensor.name])
            node.attribute.append(helper.make_attribute(form, values.tolist()))
            model.graph.initializer.remove(tensor)
            model.graph.node.insert(0, node)
    assert any(node.op_type == "Constant" for node in model.graph.node)
    assert real_output(imported(model, path), images).tolist() == expected.tolist()


def test_series(path):
    """(N, C, L) is a map of one row; VGG10 for radio signals is such a network."""
    b = Build(shape=(1, 2, 16))
    x = b.op("Conv", [b.image(), b.weight((4, 2, 3))], pads=[1, 1], kernel_shape=[3], strides=[2])
    x = b.op("MaxPool", [b.act(x)], kernel_shape=[2], strides=[2])
    x = b.op("Mul", [x, b.const([[[1.0], [0.5], [2.0], [1.0]]])])
    x = b.act(b.op("Conv", [x, b.weight((4, 2, 3))], pads=[2, 2], dilations=[2], group=2))
    check(b, b.head(b.flat(x), 16), path)


def test_vectors(path):
    b = Build(shape=(1, 16))
    x = b.act(b.op("Gemm", [b.image(), b.weight((12, 16))], transB=1))
    check(b, b.head(x, 12), path)


def test_a_batch_norm_between_two_shapes(path):
    """As PyTorch writes a batch norm of vectors: Unsqueeze, BatchNormalization, Squeeze."""
    b = Build(shape=(1, 16))
    x = b.op("Gemm", [b.image(), b.weight((6, 16))], transB=1)
    x = b.op("Unsqueeze", [x, b.const([2], np.int64)])
    numbers = ([1, -2, 0.5, 1, 2, 1], [0.1] * 6, [0, 1, -1, 0.5, 0, 0], [1, 2, 0.3, 4, 1, 1])
    x = b.op("BatchNormalization", [x, *(b.const(v) for v in numbers)])
    x = b.act(b.op("Squeeze", [x, b.const([2], np.int64)]))
    check(b, b.head(x, 6), path)


def test_a_reshape_to_a_shape_that_is_computed(path):
    """Shape, Gather, Unsqueeze, Concat, Reshape, as PyTorch writes ``x.view(len(x), -1)``."""
    b = Build(opset=11)
    x = b.body()
    size = b.op("Gather", [b.op("Shape", [x]), b.const(0, np.int64)], axis=0)
    size = b.op("Unsqueeze", [size], axes=[0])
    target = b.op("Concat", [size, b.const([-1], np.int64)], axis=0)
    output = b.head(b.op("Reshape", [x, target]), 256)
    b_images = b.images()
    model = b.model(output)
    found = real_output(imported(model, path), b_images)
    c = Build(opset=11)
    expected = reference(c.model(c.head(c.flat(c.body()), 256)), b_images)
    assert found.tolist() == expected.tolist()


def test_residuals_of_sums_that_fit(path):
    """An addition of sums without a quantizer is exact where 16 bits hold them."""
    b = Build()
    x = b.body()
    y = b.op("Add", [b.conv(x, 4, 4, 1, bias=False), x])
    y = b.op("Sub", [x, b.quant(y, 2.0**-4)])
    check(b, b.head(b.flat(b.act(y)), 256), path)


def test_residuals_with_a_factor(path):
    """Equal steps that came about in two ways: the shifts follow the steps."""
    b = Build()
    x = b.body()
    y = b.quant(b.conv(x, 4, 4, 1, bias=False), 3 * 2.0**-5)
    z = b.op("Add", [b.op("Mul", [x, b.const(3.0)]), y])
    check(b, b.head(b.flat(b.act(b.op("Add", [z, b.op("Mul", [x, b.const(1.5)])]))), 256), path)


def test_depthwise_and_grouped(path):
    b = Build()
    x = b.act(b.conv(b.body(), 4, 4, 3, group=4))
    x = b.op("Mul", [x, b.const(np.reshape([1, 3, 5, 7], (1, 4, 1, 1)))])
    check(b, b.head(b.flat(b.act(b.conv(x, 4, 4, 3, group=4))), 256), path)


def test_graph_inputs_that_are_constants_too(path):
    """As files of before IR version 4 have them."""
    b = Build(opset=9)
    output = b.head(b.flat(b.body()), 256)
    model, images = b.model(output, ir_version=3), b.images()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    expected = reference(b.model(output), images)
    assert real_output(imported(model, path), images).tolist() == expected.tolist()


@pytest.mark.parametrize("batch", ["N", 4, None])
def test_batches(batch, path):
    """Free, fixed, or not said."""
    b = Build()
    output = b.head(b.op("Reshape", [b.body(), b.const([-1, 256], np.int64)]), 256)
    model, images = b.model(output), b.images()
    expected = reference(model, images)
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.Clear()
    if isinstance(batch, str):
        dim.dim_param = batch
    elif batch is not None:
        dim.dim_value = batch
    assert real_output(imported(model, path), images).tolist() == expected.tolist()


_PLACES = [
    "asymmetric",
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "half_pixel_symmetric",
]
_ROUNDED = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("rounds", _ROUNDED)
@pytest.mark.parametrize("places", [*_PLACES, "pytorch_half_pixel"])
def test_nearest_positions_are_those_of_onnx_or_refused(places, rounds, path):
    """What is repeated depends on how a place is computed, how it is rounded and by how much."""
    taken = []
    for factor in ([2, 3], [4, 1], [1, 1]):
        b, y = _after(
            lambda b, x: b.flat(
                b.op(
                    "Resize",
                    [x, "", b.const([1.0, 1, *factor])],  # noqa: B023
                    mode="nearest",
                    coordinate_transformation_mode=places,
                    nearest_mode=rounds,
                )
            ),
            256 * factor[0] * factor[1],
            opset=19,
        )
        model, images = b.model(y), b.images()
        try:
            graph = imported(model, path)
        except GraphError as error:
            assert "must repeat positions" in str(error)
            continue
        taken.append(factor)
        np.testing.assert_array_equal(real_output(graph, images), reference(model, images))
    usual = (places == "asymmetric") == (rounds == "floor") and rounds != "ceil"
    assert taken == ([[2, 3], [4, 1], [1, 1]] if usual and places != "align_corners" else [[1, 1]])
