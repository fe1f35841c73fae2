"""Accumulator bounds: nothing leaves them, and worst-case inputs reach them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    Node,
    Requantize,
    accumulator_bounds,
    narrowed,
    required_bits,
    run_codes,
    tensor_types,
    validate,
    value_bounds,
)
from tests.graph.strategies import Case, Space, cases, graphs
from tests.nightly import examples


@given(st.integers(-(2**60), 2**60), st.integers(0, 2**60))
def test_required_bits(low, extent):
    high = low + extent
    bits = required_bits(low, high)
    assert -(2 ** (bits - 1)) <= low <= high <= 2 ** (bits - 1) - 1
    assert bits == 1 or not -(2 ** (bits - 2)) <= low <= high <= 2 ** (bits - 2) - 1


@settings(max_examples=examples(150))
@given(case=cases())
def test_no_value_leaves_its_bounds(case: Case):
    bounds = value_bounds(case.graph)
    for name, codes in run_codes(case.graph, case.codes, trace=True).items():
        low, high = bounds[name]
        assert low <= codes.min()
        assert codes.max() <= high


#: One layer on an input whose codes are free.
_ONE_LAYER = Space(kinds=(Conv2d, Linear), ops=(1, 1), inputs=(1, 1), padding=(0, 0))


def _worst(node: Node, source: np.ndarray, channel: int, largest: bool) -> np.ndarray:
    """The input that drives output (channel, 0, 0) or (channel,) to its end, tap by tap."""
    low, high = int(source.min()), int(source.max())
    x = np.full(source.shape, low)
    if isinstance(node, Linear):
        return np.where((node.weight[channel] > 0) == largest, high, low)
    inputs = node.weight.shape[1]
    first = channel // (node.weight.shape[0] // node.groups) * inputs
    for i, j, k in np.ndindex(node.weight.shape[1:]):
        positive = node.weight[channel, i, j, k] > 0
        x[first + i, j * node.dilation[0], k * node.dilation[1]] = (
            high if positive == largest else low
        )
    return x


@settings(max_examples=examples(150))
@given(graph=graphs(_ONE_LAYER))
def test_worst_case_inputs_reach_the_bounds(graph: Graph):
    types = tensor_types(graph)
    layers = [node for node in graph.nodes if isinstance(node, (Conv2d, Linear))]
    for node in layers:
        image = graph.nodes[0]
        code = types[image.name]
        ends = np.resize([code.low, code.high], types[node.input].shape)
        if ends.size == 1:  # np.resize has room for one end only; the helper needs both
            continue
        reached = []
        for channel in range(node.weight.shape[0]):
            for largest in (False, True):
                x = _worst(node, ends, channel, largest).reshape(1, *code.shape)
                acc = run_codes(graph, x, trace=True)[node.name][0, channel]
                reached.append(int(acc if acc.ndim == 0 else acc[0, 0]))
        assert accumulator_bounds(graph)[node.name] == (min(reached), max(reached))
        # One bit less, and the proof fails.
        if node.acc_bits > 2:
            narrow = tuple(
                replace(n, acc_bits=n.acc_bits - 1) if n is node else n for n in graph.nodes
            )
            with pytest.raises(GraphError, match=f"{node.name}.*acc_bits is {node.acc_bits - 1}"):
                validate(replace(graph, nodes=narrow))


def _requantize(name, source, channels, **changes) -> Requantize:
    values = {"bits": 8, "signed": False, "exponent": 0, "low": 0, "high": 255}
    arrays = {"multiplier": [1] * channels, "bias": [0] * channels, "shift": [0] * channels}
    return Requantize(name=name, input=source, **(values | arrays | changes))


def test_clipping_and_channels_narrow_the_bound():
    """Channel 0 stays in 0..10 and channel 1 in 5..20, whatever the 8-bit format could hold."""
    nodes = (
        Input(name="x", shape=(2,), bits=5, signed=False, exponent=0),
        _requantize("y", "x", 2, bias=[-21, 5], high=20),
        Linear(
            name="fc", input="y", weight=[[4, -1]], weight_bits=3, weight_exponent=[0], acc_bits=48
        ),
        _requantize("z", "fc", 1, signed=True, low=-128, high=127),
    )
    graph = Graph(nodes=nodes, outputs=("z",))
    assert accumulator_bounds(graph) == {"fc": (-20, 40)}
    # The value, unlike a partial sum, always holds the second channel's 5.
    assert value_bounds(graph)["fc"] == (-20, 35)
    assert narrowed(graph)["fc"].acc_bits == 7


def test_partial_sums_count():
    """The sum is at least 250, but it starts from 0."""
    nodes = (
        Input(name="x", shape=(1, 1, 1), bits=8, signed=False, exponent=0),
        AvgPool2d(
            name="mean", input="x", kernel=(1, 1), stride=(1, 1), multiplier=1, shift=0, acc_bits=48
        ),
        _requantize("a", "mean", 1, low=100, exponent=1),
        _requantize("b", "mean", 1, low=50, high=60),
        Add(name="sum", operands=("a", "b"), shifts=(1, 0), acc_bits=48),
        _requantize("y", "sum", 1),
    )
    graph = Graph(nodes=nodes, outputs=("y",))
    assert accumulator_bounds(graph) == {"mean": (0, 255), "sum": (0, 570)}
    assert value_bounds(graph)["sum"] == (250, 570)


def test_padding_lets_any_tap_vanish():
    nodes = (
        Input(name="x", shape=(1, 2, 2), bits=4, signed=False, exponent=0),
        _requantize("y", "x", 1, low=3, high=9),
        Conv2d(
            name="conv",
            input="y",
            weight=[[[[1, 1]]]],
            weight_bits=2,
            weight_exponent=[0],
            padding=(0, 1, 0, 0),
            acc_bits=48,
        ),
        _requantize("z", "conv", 1),
    )
    graph = Graph(nodes=nodes, outputs=("z",))
    assert value_bounds(graph)["conv"] == (0, 18)
    unpadded = tuple(replace(n, padding=(0,) * 4) if n.name == "conv" else n for n in nodes)
    assert value_bounds(replace(graph, nodes=unpadded))["conv"] == (6, 18)


def test_sums_beyond_64_bits_are_exact_and_refused():
    features = 1 << 17
    nodes = (
        Input(name="x", shape=(features,), bits=16, signed=True, exponent=0),
        Linear(
            name="fc",
            input="x",
            weight=np.full((1, features), 1 << 30),
            weight_bits=6,
            weight_exponent=[0],
            acc_bits=48,
        ),
        _requantize("y", "fc", 1),
    )
    graph = Graph(nodes=nodes, outputs=("y",))
    low, high = -(1 << 30 + 17 + 15), (1 << 30 + 17) * ((1 << 15) - 1)
    with pytest.raises(GraphError) as error:
        validate(graph)
    assert str(error.value) == (
        f"Linear 'fc': accumulators can reach {low}..{high}, which takes 63 bits; acc_bits is 48"
    )
    with pytest.raises(GraphError, match="which takes 63 bits; at most 48 are allowed"):
        narrowed(graph)


def test_a_long_flatten_of_uneven_channels_takes_no_room():
    """Beyond 2**20 features one interval stands for all: a file cannot ask for an allocation."""
    nodes = (
        Input(name="x", shape=(2, 4096, 1024), bits=8, signed=False, exponent=0),
        _requantize("y", "x", 2, bias=[0, -200]),
        Flatten(name="f", input="y"),
    )
    graph = Graph(nodes=nodes, outputs=("f",))
    assert value_bounds(graph)["f"] == (0, 255)
