# amaranth: UnusedElaboratable=no
"""Circuits of convolutional networks: every code the interpreter's, however streams pause."""

import numpy as np
import pytest

from hw.rtl.verilog import emit
from hw.spatial.build import generate_spatial, read_spatial
from hw.spatial.errors import SpatialError
from hw.spatial.lowering import plan_network
from hw.spatial.pooling import LargestTap
from nbqnn_train.graph import Flatten, Graph, Upsample2d, run_codes, tensor_types
from sim.spatial.stream import run_stream
from tests.hw.spatial.maps import Maps


def _same() -> Graph:
    """Padding on all sides, maps of the input's size, sums of early and late maps."""
    maps = Maps(1, (2, 5, 4))
    a = maps.conv("x", 3, (3, 3), padding=(1, 1, 1, 1))
    b = maps.conv(a, 3, (3, 3), padding=(1, 1, 1, 1), signed=True)
    c = maps.conv(b, 3, (3, 3), padding=(1, 1, 1, 1), groups=3, signed=True, exponent=1)
    d = maps.add(maps.conv(a, 3, (1, 1), signed=True), c)
    maps.concat(maps.add(d, a, b), maps.table(c))
    return maps.graph()


def _strides() -> Graph:
    """Strides in both branches of a sum, uneven sizes and padding, poolings, dense at the end."""
    maps = Maps(2, (1, 7, 9), signed=False)
    a = maps.conv("x", 4, (3, 2), stride=(2, 2), padding=(2, 0, 1, 1))
    b = maps.conv(a, 4, (3, 3), stride=(1, 2), padding=(1, 1, 1, 1))
    c = maps.conv(a, 4, (1, 1), stride=(1, 2), exponent=2)
    d = maps.largest(maps.add(b, c), (2, 2), (2, 1), padding=(1, 0, 0, 1))
    e = maps.conv(d, 3, (2, 2), padding=(0, 1, 1, 0), dilation=(1, 2))
    maps.linear(e, 5)
    return maps.graph()


def _narrow() -> Graph:
    """Maps one position wide, a kernel larger than what it ever sees, averages, scaled."""
    maps = Maps(3, (2, 6, 1), scale=True)
    a = maps.conv("x", 2, (3, 3), padding=(1, 1, 1, 1), signed=True)
    b = maps.average(a, (2, 1), (1, 1), (1, 0, 0, 0))
    c = maps.largest(a, (3, 3), (1, 1), (1, 1, 1, 1))
    d = maps.average(maps.add(b, c))
    maps.linear(maps.linear(d, 4), 3)
    return maps.graph()


def _single() -> Graph:
    """One position: every slot is a picture."""
    maps = Maps(4, (3, 1, 1))
    a = maps.conv("x", 3, (3, 3), padding=(1, 1, 1, 1))
    maps.add(a, maps.conv(a, 3, (1, 1)))
    return maps.graph()


GRAPHS = {"same": _same, "strides": _strides, "narrow": _narrow, "single": _single}
#: Cycles for each position.
INTERVALS = {"same": 3, "strides": 1, "narrow": 1, "single": 1}


@pytest.fixture(scope="module", params=list(GRAPHS))
def build(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("spatial") / request.param
    generate_spatial(GRAPHS[request.param](), path, 300, INTERVALS[request.param])
    return path


def _codes(graph: Graph, images: int) -> np.ndarray:
    """Pictures of random codes and of the lowest and highest ones."""
    kind = tensor_types(graph)["x"]
    random = np.random.default_rng(5)
    codes = random.integers(kind.low, kind.high + 1, (images, *kind.shape))
    codes[::3] = random.choice([kind.low, kind.high], codes[::3].shape)
    codes[0], codes[1] = kind.high, kind.low
    return codes


@pytest.mark.parametrize(("source", "sink"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.8), (0.4, 0.4)])
def test_every_code_is_the_interpreters(build, source, sink):
    described, graph = read_spatial(build)
    codes = _codes(graph, 40)
    result = run_stream(build, described, codes, source_stall=source, sink_stall=sink, seed=9)
    expected = run_codes(graph, {"x": codes}).reshape(len(codes), -1)
    assert np.array_equal(result.codes, expected)
    if not source and not sink:
        begins = result.entered[:, 0]
        assert set(np.diff(begins)) == {described.cycles_per_image}
        assert result.left[0, 0] - begins[0] == described.latency


def test_a_network_that_does_not_fit_is_refused_with_the_layer():
    with pytest.raises(SpatialError, match=r"layer n\d+: with it the circuit takes about \d+ look"):
        plan_network(_same(), 3, tables=200)


def test_a_sum_below_its_rounding_leaves_its_sign():
    """All bits are shifted out: -1 or 0, of an input without a weight's help."""
    maps = Maps(1, (1, 1, 1))
    name = maps.rounded("x", 1, shift=9, signed=True)
    graph = maps.graph()
    assert graph[name].shift[0] > 6
    assert "module" in emit(plan_network(graph, 3).parts[-1].build())


def test_a_pooling_compares_columns_first():
    maps = Maps(1, (2, 6, 6))
    maps.largest("x", (3, 2), (3, 2))
    largest = [
        part.build.keywords["taps"]
        for part in plan_network(maps.graph(), 3).parts
        if getattr(part.build, "func", None) is LargestTap
    ]
    assert largest == [3, 2]


def test_layers_that_no_circuit_has_are_refused_by_name():
    maps = Maps(1, (2, 4, 4))
    maps.nodes.append(Upsample2d(name="larger", input="x", factor=(2, 2)))
    with pytest.raises(SpatialError, match=r"cannot hold larger \(Upsample2d\); remedy: .*overlay"):
        plan_network(maps.graph(), 3)
    maps = Maps(1, (2, 4, 4))
    maps.nodes.append(Flatten(name="flat", input="x"))
    with pytest.raises(SpatialError, match="layer flat: a flattened map must be read by Linear"):
        plan_network(maps.graph(), 3)
    maps = Maps(1, (2, 4, 4))
    maps.conv("x", 2, (1, 1), padding=(1, 1, 1, 1))
    with pytest.raises(SpatialError, match=r"layer n1: padding must be less than the kernel"):
        plan_network(maps.graph(), 3)
