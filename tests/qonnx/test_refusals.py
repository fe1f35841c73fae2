"""What the graph cannot hold is refused: every kind once, in one line that says what to do."""

import numpy as np
import pytest
from onnx import helper

from nbqnn_train.graph import GraphError, run_codes, tensor_types
from nbqnn_train.qonnx.importer import import_model
from tests.qonnx.layers import layer, quant_node, read
from tests.qonnx.models import Build, imported


def _node(kind, inputs=("conv",), domain="", **attributes):
    return helper.make_node(kind, list(inputs), ["y"], domain=domain, **attributes)


_QUANTIZED = quant_node("x", "q")

_REFUSED = {
    "weights": (
        layer(quant_node("conv", "y"), weights="bad"),
        {"bad": np.array([[[[1.5, 0.5], [0, 1]]]], np.float32), "two": np.float32(4)},
        "Conv 'conv': weight[0, 0, 0, 0] is 1.5, which is 3 times the smallest of its channel; it "
        "must be 0 or a signed power of two times that",
    ),
    "zero point": (
        layer(quant_node("conv", "y", zero="half")),
        {},
        "Quant 'y': zero point must be one integer, not 0.5",
    ),
    "bits": (
        layer(quant_node("conv", "y", bits="half")),
        {},
        "Quant 'y': bit width must be one integer, not 0.5",
    ),
    "bits by channel": (
        layer(quant_node("conv", "y", bits="many")),
        {"many": np.float32([8, 4])},
        "Quant 'y': bit width must be one integer, not 2 numbers",
    ),
    "scales along the rows": (
        layer(
            helper.make_node("Conv", ["q", "more"], ["maps"], name="maps"),
            quant_node("maps", "y", scale="row"),
        ),
        {"more": np.ones((3, 1, 2, 2), np.float32), "row": np.float32([1, 0.5, 2])},
        "Quant 'y': constant of shape (3,) must be equal within each channel; numbers by channel "
        "have the shape (3, 1, 1)",
    ),
    "scales of another axis": (
        layer(
            helper.make_node("QuantizeLinear", ["conv", "row", "zeros"], ["c"], "Q", axis=3),
            helper.make_node("DequantizeLinear", ["c", "row", "zeros"], ["y"], axis=3),
        ),
        {"row": np.float32([1, 0.5, 2]), "zeros": np.zeros(3, np.int8)},
        "QuantizeLinear 'Q': scale must be one number, or one for each of 1 channels along axis 1, "
        "not 3 along axis 3",
    ),
    "transposed images": (
        layer(
            helper.make_node("Flatten", ["conv"], ["f"]),
            helper.make_node("Gemm", ["f", "square"], ["y"], name="y", transA=1),
        ),
        {"square": np.eye(9, dtype=np.float32)},
        "Gemm 'y': transA must be 0 for the shape (1, 9) of 'f', not 1",
    ),
    "many bits": (
        layer(quant_node("conv", "y", bits="many")),
        {"many": np.float32(17)},
        "Quant 'y': activations must have 2..16 bits, not 17",
    ),
    "one value": (
        layer(quant_node("conv", "y", bits="one", signed=0, narrow=1)),
        {},
        "Quant 'y': 1 bits must hold more than the value 0",
    ),
    "mode": (
        layer(quant_node("conv", "y", mode="STOCHASTIC")),
        {},
        "Quant 'y': rounding mode must be one of ROUND, HALF_EVEN, HALF_UP, HALF_DOWN, FLOOR, "
        "CEIL, UP, DOWN, not 'STOCHASTIC'",
    ),
    "scale": (
        layer(quant_node("conv", "y", scale="negative")),
        {},
        "Quant 'y': scale must be positive, not -0.5",
    ),
    "variance": (
        layer(_node("BatchNormalization", ["conv", "one_", "zero_", "zero_", "negative"])),
        {"one_": np.float32([1]), "zero_": np.float32([0])},
        "BatchNormalization 'y': variance plus epsilon must be positive, not -0.49999",
    ),
    "operator": (layer(_node("Sin")), {}, "Sin 'y': this operator is not supported"),
    "function": (layer(_node("Tanh")), {}, "a Quant must follow a function, so that it becomes"),
    "advice": (
        layer(_node("LRN", size=3)),
        {},
        "LRN 'y': this operator is not supported; train with batch norm in its place",
    ),
    "domain": (
        layer(_node("MaxPool", domain="qonnx.custom_op.channels_last", kernel_shape=[2, 2])),
        {},
        "MaxPool 'y': this operator of domain 'qonnx.custom_op.channels_last' is not supported",
    ),
    "product": (
        [_QUANTIZED, _node("MatMul", ["q", "q"])],
        {},
        "MatMul 'y': one operand must be constant; products of two activations are not supported",
    ),
    "shapes": (
        layer(_node("Add", ["conv", "q"])),
        {},
        "Add 'y': operands must have equal shapes, not (1, 3, 3) and (1, 4, 4)",
    ),
    "not a number": (
        layer(_node("Mul", ["conv", "nan"])),
        {"nan": np.array([np.nan], np.float32)},
        "Mul 'y': input 1 must be finite, not nan at [0]",
    ),
    "division": (
        layer(_node("Div", ["conv", "zero"])),
        {},
        "Div 'y': must divide by a constant other than 0",
    ),
    "channels": (
        layer(_node("Mul", ["conv", "row"])),
        {"row": np.array([1, 2, 3], np.float32)},
        "Mul 'y': constant of shape (3,) must be equal within each channel",
    ),
    "more channels": (
        layer(_node("Mul", ["conv", "pair"])),
        {"pair": np.array([[[1.0]], [[2.0]]], np.float32)},
        "Mul 'y': constant of shape (2, 1, 1) must hold one number per channel",
    ),
    "auto_pad": (
        [
            *layer()[:2],
            helper.make_node("Conv", ["q", "w"], ["conv"], name="conv", auto_pad="SAME"),
            quant_node("conv", "y"),
        ],
        {},
        "Conv 'conv': auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not 'SAME'",
    ),
    "windows beyond the padding": (
        [
            _QUANTIZED,
            _node(
                "AveragePool",
                ["q"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                ceil_mode=1,
                count_include_pad=1,
            ),
        ],
        {},
        "AveragePool 'y': ceil_mode must not add windows where padding is counted",
    ),
    "dilations": (
        [_QUANTIZED, _node("MaxPool", ["q"], kernel_shape=[2, 2], dilations=[2, 2])],
        {},
        "MaxPool 'y': dilations must be 1, not (2, 2)",
    ),
    "negative after pooling": (
        layer(
            helper.make_node("MaxPool", ["conv"], ["m"], kernel_shape=[2, 2]),
            helper.make_node("Neg", ["m"], ["n"]),
            quant_node("n", "y"),
        ),
        {},
        "Neg 'n': a negative factor may not follow a MaxPool without a Quant",
    ),
    "axis": ([_QUANTIZED, _node("Concat", ["q", "q"], axis=2)], {}, "Concat 'y': axis must be 1"),
    "reshape": (
        [_QUANTIZED, _node("Reshape", ["q", "target"])],
        {"target": np.array([1, 4, 4])},
        "Reshape 'y': must flatten (1, 4, 4), or only add or drop sizes of 1, not reshape to",
    ),
    "order": (
        [_QUANTIZED, _node("Transpose", ["q"], perm=[0, 3, 2, 1])],
        {},
        "Transpose 'y': an order of axes other than (N, C, H, W) is not supported",
    ),
    "around": (
        [_QUANTIZED, _node("Pad", ["q", "pads"], mode="wrap")],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
        "Pad 'y': mode must be constant, edge or reflect, not wrap",
    ),
    "two formats": (
        [quant_node("x", "a"), quant_node("x", "b", scale="half"), _node("Add", ["a", "b"])],
        {},
        "Quant 'b': input 'x' must be quantized in one way only; another Quant takes 8 bits in "
        "steps of 2**0",
    ),
    "training": (
        [_QUANTIZED, _node("Dropout", ["q", "half", "true"])],
        {"true": np.array(True)},
        "Dropout 'y': must not be in training; export the network for inference",
    ),
    "within": (
        [
            _QUANTIZED,
            helper.make_node("Softmax", ["q"], ["s"], axis=1),
            _node("Mul", ["s", "half"]),
        ],
        {},
        "Mul 'y': nothing but the end of the network may follow a Softmax",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_the_graph_cannot_hold_is_refused(name, tmp_path):
    nodes, constants, message = _REFUSED[name]
    with pytest.raises(GraphError) as error:
        read(tmp_path, nodes, **constants)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_all_at_once_and_each_kind_once(tmp_path):
    """Three layers of uniform weights, an operator that is not there: two kinds, one line."""
    b = Build()
    x = b.image()
    for _ in range(3):
        weight = b.const(b.rng.choice([-0.75, 0.25, 1.0], (2, 2, 3, 3)))
        x = b.act(b.op("Conv", [x, weight], pads=[1] * 4))
    model = b.model(b.op("Sin", [x]))
    with pytest.raises(GraphError) as error:
        imported(model, tmp_path / "model.onnx")
    text = str(error.value)
    assert text.startswith("2 kinds of refusals: Conv 'Conv_t")
    assert "(and 2 more like it); Sin 'Sin_t" in text
    assert len(text) < 600
    assert "\n" not in text


def test_ties_to_even_are_refused_unless_accepted(tmp_path):
    nodes = layer(quant_node("conv", "y"))
    nodes[0] = quant_node("x", "q", mode="HALF_UP", signed=0)
    with pytest.raises(GraphError, match="Quant 'y': ties of channel 0 go to even"):
        read(tmp_path, nodes, exact=True)
    # With an offset between the steps of the accumulator there are no ties.
    nodes[2].input.append("sixth")
    graph = read(tmp_path, nodes, exact=True)
    assert graph["y"].bias.tolist() == [0]


def test_a_quantizer_of_the_input_that_floors(tmp_path):
    nodes = layer(quant_node("conv", "y"))
    nodes[0] = quant_node("x", "q", scale="half", mode="FLOOR")
    message = r"no Input, which rounds to the nearest .*: FLOOR in steps of 0\.5, moved by 0 steps;"
    with pytest.raises(GraphError, match=message):
        read(tmp_path, nodes, exact=True)


def test_outputs_without_a_quantizer(tmp_path):
    """Exact where 16 bits hold the sums, otherwise refused or rounded."""
    nodes = layer(_node("Identity"))
    nodes[0] = quant_node("x", "q", mode="HALF_UP", signed=0)
    codes = np.arange(3 * 16).reshape(3, 1, 4, 4)
    sums = codes[:, :, :3, :3] - codes[:, :, :3, 1:] + codes[:, :, 1:, 1:]
    graph = read(tmp_path, nodes, exact=True)
    assert tensor_types(graph)[graph.outputs[0]].exponent == -1
    assert np.array_equal(run_codes(graph, codes), sums)
    nodes = [*nodes[:3], helper.make_node("Mul", ["conv", "third"], ["y"])]
    with pytest.raises(GraphError, match="Output 'y' must be the result of a Quant whose scale is"):
        read(tmp_path, nodes, exact=True)
    for options in ({"exact": False}, {"exact": True, "round_outputs": True}):
        graph = import_model(tmp_path / "model.onnx", **options).graph
        found = np.ldexp(run_codes(graph, codes).astype(float), tensor_types(graph)["y"].exponent)
        assert np.abs(found - sums / 2 / 3).max() < 1e-2
