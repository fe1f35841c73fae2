"""Each rule of the contract, broken once: one line that names the node and the values."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    tensor_types,
    validate,
)

_C = 4


def _requantize(name: str, source: str, channels: int = _C, **changes) -> Requantize:
    values = {
        "multiplier": [1] * channels,
        "bias": [0] * channels,
        "shift": [4] * channels,
        "bits": 8,
        "signed": False,
        "exponent": -4,
        "low": 0,
        "high": 255,
    }
    return Requantize(name=name, input=source, **(values | changes))


def _graph() -> Graph:
    """Every kind of node once, and more."""
    weight = np.resize([1, -2, 4, 0, -1], (_C, 1, 3, 3))
    nodes = (
        Input(name="image", shape=(2, 8, 8), bits=8, signed=True, exponent=-5),
        Conv2d(
            name="conv",
            input="image",
            weight=weight,
            weight_bits=3,
            weight_exponent=[-1, -2, -3, -4],
            padding=(1, 1, 1, 1),
            groups=2,
            acc_bits=16,
        ),
        _requantize("relu", "conv"),
        MaxPool2d(name="max", input="relu", kernel=(2, 2), stride=(2, 2)),
        Clip(name="clip", input="max", low=1, high=200),
        AvgPool2d(
            name="avg",
            input="relu",
            kernel=(2, 2),
            stride=(2, 2),
            multiplier=1,
            shift=2,
            acc_bits=12,
        ),
        _requantize("mean", "avg", exponent=-3),
        Add(name="add", operands=("clip", "mean"), shifts=(0, 1), acc_bits=12),
        _requantize("sum", "add"),
        Concat(name="join", operands=("sum", "clip")),
        Flatten(name="flat", input="join"),
        Linear(
            name="fc",
            input="flat",
            weight=np.resize([0, 1, -1], (3, 128)),
            weight_bits=2,
            weight_exponent=[0, 0, 0],
            acc_bits=20,
        ),
        _requantize("logits", "fc", 3, signed=True, low=-128, high=127),
    )
    return Graph(nodes=nodes, outputs=("logits",))


def _changed(name: str, /, **changes) -> Graph:
    graph = _graph()
    nodes = tuple(replace(n, **changes) if n.name == name else n for n in graph.nodes)
    return replace(graph, nodes=nodes)


def test_a_good_graph_passes():
    validate(_graph())


def test_types():
    types = tensor_types(_graph())
    assert types["conv"].shape == (4, 8, 8)
    assert types["conv"].exponent == (-6, -7, -8, -9)
    assert types["conv"].is_accumulator
    assert (types["max"].shape, types["max"].exponent) == ((4, 4, 4), -4)
    assert types["avg"].exponent == (-6,) * 4
    assert types["add"].exponent == (-4,) * 4
    assert types["join"].shape == (8, 4, 4)
    assert types["flat"].shape == (128,)
    assert (types["logits"].low, types["logits"].high) == (-128, 127)


_CHANGES = [
    # names and edges
    ("conv", {"name": ""}, "Name of Conv2d must be 1..200 printable characters, not ''"),
    ("conv", {"name": "a\nb"}, "Name of Conv2d must be 1..200 printable characters"),
    ("conv", {"name": 3}, "Name of Conv2d must be 1..200 printable characters, not 3"),
    ("conv", {"name": "image"}, "Conv2d 'image': the name is taken by an earlier node"),
    ("conv", {"input": "nowhere"}, "Conv2d 'conv': input 'nowhere' is not a node of the graph"),
    ("conv", {"input": "max"}, "Conv2d 'conv': input 'max' comes later in the graph (a cycle"),
    ("conv", {"input": "conv"}, "Conv2d 'conv': input 'conv' comes later in the graph (a cycle"),
    ("conv", {"input": 3}, "Conv2d 'conv': input must be a name, not 3"),
    ("add", {"operands": "ab"}, "Add 'add': operands must be a tuple of names, not 'ab'"),
    ("add", {"operands": ("mean",)}, "Add 'add': operands must be 2 names, not ('mean',)"),
    ("join", {"operands": ("sum",)}, "Concat 'join': operands must be at least 2 names"),
    # formats
    ("image", {"bits": 17}, "Input 'image': bits must be in 2..16, not 17"),
    ("image", {"bits": 8.0}, "Input 'image': bits must be in 2..16, not 8.0"),
    ("image", {"bits": True}, "Input 'image': bits must be in 2..16, not True"),
    ("image", {"signed": 1}, "Input 'image': signed must be a bool, not 1"),
    ("image", {"exponent": -129}, "Input 'image': exponent must be in -128..127, not -129"),
    ("image", {"shape": (2, 8)}, "Input 'image': shape must be (C, H, W) or (F,), not (2, 8)"),
    ("image", {"shape": (2, 0, 8)}, "Input 'image': shape must be 3 integers in 1..65536"),
    (
        "image",
        {"shape": (2, 1 << 16, 1 << 16)},
        "Input 'image': a tensor must hold at most 1073741824 elements, not shape (2, 65536, 6",
    ),
    # weights
    (
        "fc",
        {"weight": np.resize([0, 2], (3, 128))},
        "Linear 'fc': weight[0, 1] is 2; a 2-bit weight must be 0 or a signed power of two of at "
        "most 1",
    ),
    ("conv", {"weight": np.full((4, 1, 3, 3), 3)}, "Conv2d 'conv': weight[0, 0, 0, 0] is 3; a 3"),
    ("conv", {"weight": np.full((4, 1, 3, 3), -(1 << 63))}, "is -9223372036854775808; a 3-bit"),
    ("conv", {"weight": np.ones((4, 9))}, "weight must hold integers of at most 64 bits, not flo"),
    (
        "conv",
        {"weight": np.full((4, 1), np.nan)},
        "Conv2d 'conv': weight[0, 0] must be an integer, not nan",
    ),
    ("conv", {"weight": np.ones((4, 9), int)}, "weight must have 4 dimensions of at least 1, not"),
    ("conv", {"weight": np.ones((4, 1, 0, 3), int)}, "weight must have 4 dimensions of at least"),
    ("conv", {"weight_bits": 7}, "Conv2d 'conv': weight_bits must be in 2..6, not 7"),
    ("conv", {"weight_bits": 1}, "Conv2d 'conv': weight_bits must be in 2..6, not 1"),
    ("conv", {"weight_exponent": [0]}, "weight_exponent must have shape (4,), not (1,)"),
    ("conv", {"weight_exponent": [0, 0, 128, 0]}, "must be in -128..127, not 128 (channel 2)"),
    # shapes
    ("conv", {"groups": 3}, "Conv2d 'conv': groups must divide the 4 output channels, not 3"),
    ("conv", {"groups": 0}, "Conv2d 'conv': groups must be in 1..65536, not 0"),
    (
        "conv",
        {"groups": 4},
        "weight (4, 1, 3, 3) with groups 4 takes 4 input channels, but 'image' has 2",
    ),
    (
        "conv",
        {"stride": (0, 1)},
        "Conv2d 'conv': stride must be 2 integers in 1..65536, not (0, 1)",
    ),
    ("conv", {"stride": 1}, "Conv2d 'conv': stride must be 2 integers in 1..65536, not 1"),
    ("conv", {"padding": (0, -1, 0, 0)}, "Conv2d 'conv': padding must be 4 integers in 0..65536"),
    (
        "conv",
        {"dilation": (5, 1)},
        "kernel (3, 3) with dilation (5, 1) must fit into the padded input of 10 x 10",
    ),
    (
        "conv",
        {"padding": (65530, 1, 9, 1)},
        "output must be at most 65536 high and wide, not (65545",
    ),
    (
        "max",
        {"padding": (0, 2, 0, 0)},
        "MaxPool2d 'max': padding must be smaller than the kernel (2, 2), not (0, 2, 0, 0)",
    ),
    (
        "max",
        {"kernel": (9, 1)},
        "MaxPool2d 'max': kernel (9, 1) with dilation (1, 1) must fit into",
    ),
    ("avg", {"padding": (0, 0, 0, 2)}, "AvgPool2d 'avg': padding must be smaller than the kernel"),
    ("avg", {"multiplier": 257}, "AvgPool2d 'avg': multiplier must be in 1..256, not 257"),
    ("avg", {"shift": -1}, "AvgPool2d 'avg': shift must be in 0..31, not -1"),
    ("fc", {"input": "join"}, "Linear 'fc': weight (3, 128) takes 128 features, but 'join' has sh"),
    (
        "flat",
        {"input": "conv"},
        "Flatten 'flat': input 'conv' holds accumulators; a Requantize must",
    ),
    (
        "max",
        {"input": "conv"},
        "MaxPool2d 'max': input 'conv' holds accumulators; a Requantize must",
    ),
    (
        "add",
        {"operands": ("relu", "mean")},
        "operands must have equal shapes, not (4, 8, 8) and (4,",
    ),
    (
        "add",
        {"shifts": (0, 0)},
        "Add 'add': exponents -4 and -3 with shifts (0, 0) must meet on one step, not on -4 and -3",
    ),
    ("add", {"shifts": (0, 32)}, "Add 'add': shifts must be 2 integers in 0..31, not (0, 32)"),
    (
        "join",
        {"operands": ("sum", "mean")},
        "Concat 'join': exponent of 'sum' and 'mean' must be equal, not -4 and -3",
    ),
    ("join", {"operands": ("sum", "image")}, "Concat 'join': signed of 'sum' and 'image' must be"),
    (
        "join",
        {"operands": ("sum", "relu")},
        "height and width of 'sum' and 'relu' must be equal, n",
    ),
    ("join", {"operands": ("sum", "add")}, "Concat 'join': input 'add' holds accumulators"),
    # ranges
    (
        "clip",
        {"low": -1},
        "Clip 'clip': low and high must lie in 0..255, the range of 'max', not -1",
    ),
    (
        "clip",
        {"high": 256},
        "Clip 'clip': low and high must lie in 0..255, the range of 'max', not",
    ),
    ("clip", {"high": 0}, "Clip 'clip': high must be in 1..65535, not 0"),
    ("relu", {"low": -1}, "Requantize 'relu': low must be in 0..255, not -1"),
    ("relu", {"high": 256}, "Requantize 'relu': high must be in 0..255, not 256"),
    ("relu", {"multiplier": [1, 0, 1, 1]}, "multiplier must be in 1..65535, not 0 (channel 1)"),
    ("relu", {"multiplier": [1, 1, 1, 1 << 16]}, "must be in 1..65535, not 65536 (channel 3)"),
    (
        "relu",
        {"multiplier": [[1]]},
        "Requantize 'relu': multiplier must have shape (C,), not (1, 1)",
    ),
    (
        "relu",
        {"shift": [0, 0, 48, 0]},
        "Requantize 'relu': shift must be in 0..47, not 48 (channel",
    ),
    ("relu", {"bias": [1 << 47, 0, 0, 0]}, "not 140737488355328 (channel 0)"),
    ("relu", {"bias": [0] * 3}, "Requantize 'relu': bias must have shape (4,), not (3,)"),
    (
        "relu",
        {"multiplier": [1] * 3, "bias": [0] * 3, "shift": [0] * 3},
        "Requantize 'relu': has 3 channels, but 'conv' has 4",
    ),
    # widths
    ("conv", {"acc_bits": 49}, "Conv2d 'conv': acc_bits must be in 2..48, not 49"),
    (
        "conv",
        {"acc_bits": 11},
        "Conv2d 'conv': accumulators can reach -2042..2038, which takes 12 bits; acc_bits is 11",
    ),
    (
        "avg",
        {"acc_bits": 9},
        "AvgPool2d 'avg': accumulators can reach 0..508, which takes 10 bits",
    ),
    (
        "add",
        {"acc_bits": 8},
        "Add 'add': accumulators can reach 0..191, which takes 9 bits; acc_bi",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), _CHANGES)
def test_a_broken_rule_is_named(name, changes, message):
    with pytest.raises(GraphError) as error:
        validate(_changed(name, **changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((), "Graph outputs must be a tuple of at least 1 name, not ()"),
        ("logits", "Graph outputs must be a tuple of at least 1 name, not 'logits'"),
        (("nothing",), "Graph output 'nothing' is not a node of the graph"),
        (("logits", "logits"), "Graph output 'logits' is named twice"),
        (("logits", "fc"), "Graph output 'fc' holds accumulators; a Requantize must come after it"),
        (("relu",), "Requantize 'logits': nothing reads it and it is not an output"),
    ],
)
def test_wrong_outputs_are_named(outputs, message):
    with pytest.raises(GraphError) as error:
        validate(replace(_graph(), outputs=outputs))
    assert str(error.value) == message


def test_the_requantizer_must_fit_64_bits():
    image = Input(name="x", shape=(1,), bits=16, signed=False, exponent=0)
    linear = Linear(
        name="fc",
        input="x",
        weight=[[1 << 30]],
        weight_bits=6,
        weight_exponent=[0],
        acc_bits=47,
    )
    wide = {"multiplier": [(1 << 16) - 1], "bias": [(1 << 47) - 1], "shift": [47]}
    good = Graph(nodes=(image, linear, _requantize("y", "fc", 1, **wide)), outputs=("y",))
    validate(good)
    # (2**31 + 2**14) * 65535**2 + 2**47 - 1 + 2**46 is 2**63 + 2**14 - 1.
    more = replace(linear, weight=[[1 << 30, 1 << 30, 1 << 14]], acc_bits=48)
    nodes = (replace(image, shape=(3,)), more, _requantize("y", "fc", 1, **wide))
    with pytest.raises(GraphError, match="which takes 65 bits; at most 64 are allowed"):
        validate(Graph(nodes=nodes, outputs=("y",)))


def test_an_empty_graph_is_refused():
    with pytest.raises(GraphError, match="Graph must hold a tuple of"):
        validate(Graph(nodes=(), outputs=()))


def test_unknown_kinds_of_nodes_are_refused():
    with pytest.raises(GraphError, match="Graph holds Node; nodes must be one of Input, Conv2d"):
        validate(Graph(nodes=(Node(name="x"),), outputs=("x",)))


def test_a_graph_that_is_none_is_refused():
    with pytest.raises(TypeError, match="Graph must be a Graph"):
        validate([])


def test_arrays_are_private_and_read_only():
    weight = np.ones((1, 1), dtype=np.int64)
    node = Linear(
        name="fc", input="x", weight=weight, weight_bits=2, weight_exponent=[0], acc_bits=9
    )
    weight[0, 0] = 7
    assert node.weight.tolist() == [[1]]
    with pytest.raises(ValueError, match="read-only"):
        node.weight[0, 0] = 7


def test_the_graph_needs_neither_torch_nor_anything_but_numpy():
    """In a fresh interpreter in which other packages cannot be imported."""
    program = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "nbqnn_train"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
import numpy as np
from nbqnn_train.graph import Clip, Graph, Input, run
x = Input(name="x", shape=(2,), bits=8, signed=True, exponent=0)
graph = Graph(nodes=(x, Clip(name="y", input="x", low=0, high=9)), outputs=("y",))
print(run(graph, np.float32([[-4, 11]])).tolist())
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("[[0, 9]]\n", "")


@pytest.mark.parametrize(
    ("shapes", "largest"),
    [(((1 << 15, 1, 1), (1 << 15, 1, 1)), 1 << 16), (((1 << 23,), (1 << 23,)), 1 << 24)],
    ids=["maps", "vectors"],
)
def test_most_channels_of_a_concatenation(shapes, largest):
    """As many as a tensor may have, and not one more."""

    def joined(*operands: tuple[int, ...]) -> Graph:
        inputs = [
            Input(name=name, shape=shape, bits=8, signed=True, exponent=0)
            for name, shape in zip("abc", operands, strict=False)
        ]
        join = Concat(name="join", operands=tuple(node.name for node in inputs))
        return Graph(nodes=(*inputs, join), outputs=("join",))

    assert tensor_types(joined(*shapes))["join"].shape == (largest, *shapes[0][1:])
    message = f"^Concat 'join': output must have at most {largest} channels, not {largest + 1}$"
    with pytest.raises(GraphError, match=message):
        tensor_types(joined(*shapes, (1, *shapes[0][1:])))
