"""Operators against PyTorch, and what each refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nbqnn_train.graph import (
    ArgMax,
    Bilinear2d,
    Channels,
    Constant,
    ConvTranspose2d,
    DepthToSpace,
    Graph,
    GraphError,
    Input,
    Interpolate2d,
    Multiply,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Requantize,
    Slice2d,
    SpaceToDepth,
    Sum,
    Table,
    Unflatten,
    Upsample2d,
    narrowed,
    operators,
    run_codes,
    tensor_types,
    validate,
    with_arg_max,
)
from nbqnn_train.graph.operators import OPERATORS

_X = Input(name="x", shape=(4, 5, 6), bits=8, signed=True, exponent=-4)
_CODES = np.random.default_rng(0).integers(-128, 128, (2, 4, 5, 6))


def _run(node) -> torch.Tensor:
    """What ``node`` makes of the codes, accumulators too."""
    graph = Graph(nodes=(_X, node), outputs=(node.name,))
    if tensor_types(graph)[node.name].is_accumulator:
        graph = narrowed(graph)
        trace = run_codes(_requantized(graph), {"x": _CODES}, trace=True)
        return torch.from_numpy(trace[node.name]).double()
    return torch.from_numpy(run_codes(graph, {"x": _CODES})).double()


def _requantized(graph: Graph) -> Graph:
    name = graph.outputs[0]
    ones = np.ones(tensor_types(graph)[name].shape[0], np.int64)
    node = Requantize(
        name="out",
        input=name,
        multiplier=ones,
        bias=0 * ones,
        shift=0 * ones,
        bits=8,
        signed=True,
        exponent=0,
        low=-128,
        high=127,
    )
    return Graph(nodes=(*graph.nodes, node), outputs=("out",))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "added", "dilation"),
    [
        ((2, 2), (1, 1), (1, 1), (1, 1)),
        ((3, 1), (0, 2), (2, 0), (1, 2)),
        ((1, 2), (4, 0), (0, 0), (2, 1)),
    ],
)
def test_transposed_convolution_is_pytorchs(groups, stride, padding, added, dilation):
    random = np.random.default_rng(1)
    weight = random.choice([0, 1, -1, 2, -4], (6, 4 // groups, 3, 4))
    node = ConvTranspose2d(
        name="up",
        input="x",
        weight=weight,
        weight_bits=3,
        weight_exponent=np.zeros(6, np.int64),
        stride=stride,
        padding=(*padding, *padding),
        output_padding=added,
        dilation=dilation,
        groups=groups,
        acc_bits=48,
    )
    torchs = torch.from_numpy(weight.reshape(groups, 6 // groups, 4 // groups, 3, 4)).double()
    torchs = torchs.transpose(1, 2).reshape(4, 6 // groups, 3, 4)
    expected = F.conv_transpose2d(
        torch.from_numpy(_CODES).double(), torchs, None, stride, padding, added, groups, dilation
    )
    assert torch.equal(_run(node), expected)


@pytest.mark.parametrize("factor", [(2, 2), (4, 2), (1, 8), (16, 16)])
def test_linear_interpolation_is_pytorchs(factor):
    gain = np.prod([2 * f if f > 1 else 1 for f in factor])
    expected = F.interpolate(
        torch.from_numpy(_CODES).double(), scale_factor=factor, mode="bilinear", align_corners=False
    )
    got = _run(Bilinear2d(name="up", input="x", factor=factor, acc_bits=48))
    assert torch.equal(got, expected * gain)


def _interpolated(axis: int, place: np.ndarray, shift: int) -> Interpolate2d:
    """Linear interpolation at positions between the first and the last of an axis."""
    size = _CODES.shape[2 + axis]
    first = np.minimum(np.floor(place).astype(int), size - 2)
    share = np.floor(np.ldexp(place - first, shift) + 0.5).astype(int)
    share = np.stack([(1 << shift) - share, share], axis=1)
    return Interpolate2d(
        name="i", input="x", axis=axis, first=first, share=share, shift=shift, acc_bits=48
    )


@pytest.mark.parametrize(("axis", "size"), [(0, 9), (0, 3), (1, 11), (1, 6)])
def test_interpolation_with_aligned_corners_is_pytorchs(axis, size):
    """With shares that are exact: halves."""
    before = _CODES.shape[2 + axis]
    sizes = list(_CODES.shape[2:])
    sizes[axis] = size
    place = np.arange(size) * (before - 1) / (size - 1)
    expected = F.interpolate(
        torch.from_numpy(_CODES).double(), tuple(sizes), mode="bilinear", align_corners=True
    )
    assert torch.equal(_run(_interpolated(axis, place, 8)), expected * 256)


def test_nearest_and_shuffles_and_padding_are_pytorchs():
    x = torch.from_numpy(_CODES).double()
    nearest = Upsample2d(name="up", input="x", factor=(2, 3))
    assert torch.equal(_run(nearest), F.interpolate(x, scale_factor=(2, 3), mode="nearest"))
    assert torch.equal(_run(DepthToSpace(name="up", input="x", block=2)), F.pixel_shuffle(x, 2))
    rows = Slice2d(name="part", input="x", start=(0, 0), stride=(1, 1), size=(4, 6))
    down = SpaceToDepth(name="down", input="part", block=2)
    graph = Graph(nodes=(_X, rows, down), outputs=("down",))
    expected = F.pixel_unshuffle(x[:, :, :4], 2)
    assert torch.equal(torch.from_numpy(run_codes(graph, {"x": _CODES})).double(), expected)
    for mode in ("constant", "replicate", "reflect"):
        value = 7 if mode == "constant" else 0
        node = Pad2d(name="pad", input="x", padding=(1, 2, 3, 0), mode=mode, value=value)
        assert torch.equal(_run(node), F.pad(x, (2, 0, 1, 3), mode=mode, value=float(value)))


def test_adaptive_pooling_is_pytorchs():
    """With multipliers that are exact: regions of equal size."""
    x = torch.from_numpy(_CODES).double()
    edges = [[i * 5 // 2, -(-(i + 1) * 5 // 2)] for i in range(2)]
    columns = [[0, 3], [3, 6]]
    node = RegionMax2d(name="max", input="x", rows=edges, columns=columns)
    assert torch.equal(_run(node), F.adaptive_max_pool2d(x, (2, 2)))
    node = RegionAverage2d(
        name="avg",
        input="x",
        rows=edges,
        columns=columns,
        multiplier=np.ones((2, 2), np.int64),
        shift=0,
        acc_bits=48,
    )
    torch.testing.assert_close(_run(node), F.adaptive_avg_pool2d(x, (2, 2)) * 9)


def _table(size: int, **changes) -> Table:
    values = {"table": np.zeros(size, np.int64), "bits": 8, "signed": True, "exponent": 0}
    return Table(name="t", input="x", **(values | changes))


_SHIFTED = {"shift": 8, "acc_bits": 48}
_REGION = {"rows": [[0, 5]], "columns": [[0, 6]]}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (_table(100), "Table 't': table must have 256 entries"),
        (_table(256, table=np.full(256, 128)), "table[0] must be in -128..127, the range of its"),
        (_table(1), "table must be a vector of 2..65537 codes"),
        (
            Sum(name="s", operands=("x", "x"), shifts=(0, 1), signs=(1, 1), acc_bits=20),
            "must meet on one step",
        ),
        (
            Sum(name="s", operands=("x", "x"), shifts=(0, 0), signs=(1, 0), acc_bits=20),
            "signs must be 1 or -1",
        ),
        (
            Sum(name="s", operands=("x",), shifts=(0,), signs=(1,), acc_bits=9),
            "must be 2..64 names",
        ),
        (Multiply(name="m", operands=("x", "x", "x"), acc_bits=20), "operands must be 2 names"),
        (
            Constant(name="c", codes=np.full((4, 5, 6), 300), bits=8, signed=True, exponent=0),
            "codes must be in -128..127, not in 300..300",
        ),
        (Channels(name="c", input="x", index=[0, 4]), "index must be in 0..3"),
        (Unflatten(name="u", input="x", shape=(4, 5, 6)), "takes a vector of 120"),
        (DepthToSpace(name="d", input="x", block=3), "block must divide the channels twice"),
        (SpaceToDepth(name="d", input="x", block=2), "block must divide height and width"),
        (
            Slice2d(name="s", input="x", start=(0, 0), stride=(2, 1), size=(4, 6)),
            "last row must be in 0..4 of 'x', not 6",
        ),
        (Upsample2d(name="u", input="x", factor=(0, 2)), "factor must be 2 integers in 1..256"),
        (Upsample2d(name="u", input="x", factor=(1.5, 2)), "factor must be 2 integers in 1..256"),
        (
            Bilinear2d(name="b", input="x", factor=(3, 2), acc_bits=20),
            "factor must be of 1, 2, 4, 8, 16",
        ),
        (
            Interpolate2d(name="i", input="x", axis=2, first=[0], share=[[1]], **_SHIFTED),
            "axis must be in 0..1, not 2",
        ),
        (
            Interpolate2d(name="i", input="x", axis=0, first=[0, 1], share=[[1]], **_SHIFTED),
            "share must have shape (2, T), T at least 1, not (1, 1)",
        ),
        (
            Interpolate2d(name="i", input="x", axis=0, first=[0], share=[[513]], **_SHIFTED),
            "share must be in -512..512",
        ),
        (
            Interpolate2d(name="i", input="x", axis=0, first=[-1], share=[[1]], **_SHIFTED),
            "first must be at least 0, not -1",
        ),
        (
            Interpolate2d(name="i", input="x", axis=0, first=[[0]], share=[[1]], **_SHIFTED),
            "first must be a vector",
        ),
        (
            Interpolate2d(name="i", input="x", axis=0, first=[4], share=[[1, 1]], **_SHIFTED),
            "neighbours must end at 5, the size of 'x', not 6",
        ),
        (
            Pad2d(name="p", input="x", padding=(5, 0, 0, 0), mode="reflect", value=0),
            "padding by reflection must be less than the map's 5 x 6",
        ),
        (
            Pad2d(name="p", input="x", padding=(1, 0, 0, 0), mode="circular", value=0),
            "mode must be one of constant, replicate, reflect",
        ),
        (
            RegionMax2d(name="r", input="x", rows=[[0, 6]], columns=[[0, 1]]),
            "rows must end at 5",
        ),
        (
            RegionMax2d(name="r", input="x", rows=[[2, 2]], columns=[[0, 1]]),
            "rows must hold at least one position each, not 2..2",
        ),
        (
            RegionAverage2d(
                name="r", input="x", multiplier=[[1, 1]], shift=0, acc_bits=20, **_REGION
            ),
            "multiplier must have shape (1, 1)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(node, message):
    graph = Graph(nodes=(_X, node), outputs=(node.name,))
    with pytest.raises(GraphError) as refused:
        tensor_types(graph)
    text = str(refused.value)
    assert message in text
    assert repr(node.name) in text
    assert "\n" not in text


def test_first_of_equal_channels_is_the_largest():
    x = Input(name="x", shape=(3,), bits=4, signed=True, exponent=0)
    graph = Graph(nodes=(x, ArgMax(name="best", input="x")), outputs=("best",))
    assert run_codes(graph, {"x": np.array([[1, 5, 5], [-8, -8, -8]])}).tolist() == [[1], [0]]


def test_outputs_become_numbers_of_channels():
    x = Input(name="x", shape=(3, 1, 2), bits=4, signed=True, exponent=0)
    taken = Input(name="x.argmax", shape=(2,), bits=4, signed=True, exponent=0)
    best = ArgMax(name="best", input="x.argmax")
    graph = Graph(nodes=(x, taken, best), outputs=("x", "best"), final=("argmax", "none"))
    found = with_arg_max(graph)
    validate(found)
    assert found.final == ()
    codes = {"x": np.array([[[[1, -3]], [[2, -2]], [[2, -7]]]]), "x.argmax": np.array([[0, 0]])}
    numbers = [codes.tolist() for codes in run_codes(found, codes)]
    assert numbers == [[[[[1, 1]]]], [[0]]]
    assert with_arg_max(found) == found


def test_a_vector_times_a_map_is_refused():
    """Arrays of these shapes would spread over each other, without a word."""
    nodes = (
        Input(name="map", shape=(2, 1, 1), bits=4, signed=True, exponent=0),
        Input(name="vector", shape=(2,), bits=4, signed=True, exponent=0),
        Multiply(name="m", operands=("vector", "map"), acc_bits=9),
    )
    with pytest.raises(GraphError, match=r"'m'.* must have equal shapes, or be a map and \(C, 1"):
        tensor_types(Graph(nodes=nodes, outputs=("m",)))


def test_product_that_overflows_is_refused():
    graph = narrowed(
        Graph(nodes=(_X, Multiply(name="m", operands=("x", "x"), acc_bits=9)), outputs=("m",))
    )
    assert graph["m"].acc_bits == 16  # -128 * -128 is 2**14


def test_every_kind_is_documented():
    """SPEC.md has a row for each."""
    text = (Path(operators.__file__).parents[1] / "SPEC.md").read_text(encoding="utf-8")
    assert [kind.__name__ for kind in OPERATORS if f"| {kind.__name__} |" not in text] == []
