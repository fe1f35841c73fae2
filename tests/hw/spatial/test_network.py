# amaranth: UnusedElaboratable=no
"""Circuits of dense networks: every code the interpreter's, at full rate and with stalls."""

import json
from itertools import pairwise

import numpy as np
import pytest

from hw.spatial.build import generate_spatial, is_spatial, read_spatial
from hw.spatial.delay import estimated_mhz, levels_for
from hw.spatial.errors import SpatialError
from hw.spatial.lowering import plan_network
from nbqnn_train.graph import (
    Graph,
    Input,
    Linear,
    NbqnnError,
    Requantize,
    narrowed,
    run_codes,
)
from sim.spatial.simulate import simulate_spatial
from sim.spatial.stream import run_stream


def _layer(random, number, inputs, outputs, source, last, ends=None):
    magnitude = random.choice([0, 1, 2, 4], (outputs, inputs), p=[0.3, 0.3, 0.25, 0.15])
    weight = magnitude * random.choice([-1, 1], (outputs, inputs))
    weight[0] = 0  # a row without a term
    bits, signed = (12, True) if last else (6, False)
    low, high = ends or ((-2048, 2047) if signed else (0, 63))
    return (
        Linear(
            name=f"l{number}",
            input=source,
            weight=weight,
            weight_bits=3,
            weight_exponent=np.zeros(outputs, int),
            acc_bits=40,
        ),
        Requantize(
            name=f"a{number}",
            input=f"l{number}",
            multiplier=1 << random.integers(0, 4, outputs),
            bias=random.integers(-300, 300, outputs),
            shift=random.integers(0, 6, outputs),
            bits=bits,
            signed=signed,
            exponent=0,
            low=low,
            high=high,
        ),
    )


def dense_graph(seed: int = 0, sizes=(7, 9, 6, 5), ends=None) -> Graph:
    """Random dense layers; codes of 6 bits, outputs of 12."""
    random = np.random.default_rng(seed)
    nodes = [Input(name="x", shape=(sizes[0],), bits=6, signed=True, exponent=0)]
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = number == len(sizes) - 2
        nodes += _layer(random, number, inputs, outputs, nodes[-1].name, last, ends)
    return narrowed(Graph(nodes=tuple(nodes), outputs=(nodes[-1].name,)))


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    path = tmp_path_factory.mktemp("spatial") / "build"
    generate_spatial(dense_graph(), path, 400)
    return path


def test_every_code_is_the_interpreters_at_one_vector_a_cycle(build):
    x = np.random.default_rng(1).integers(-40, 40, (300, 7)).astype(np.float32)
    result = simulate_spatial(build, x)
    assert (result.images, result.mismatches) == (300, 0)
    assert result.cycles_per_image == 1.0
    assert result.latency == read_spatial(build)[0].latency


@pytest.mark.parametrize(("source", "sink"), [(0.0, 0.9), (0.9, 0.0), (0.5, 0.5)])
def test_stalls_lose_and_invent_nothing(build, source, sink):
    described, graph = read_spatial(build)
    codes = np.random.default_rng(2).choice([-32, 31, 0], (200, 7))
    result = run_stream(build, described, codes, source_stall=source, sink_stall=sink, seed=7)
    assert np.array_equal(result.codes, run_codes(graph, {"x": codes}))


def test_limits_that_are_no_ends_of_the_format(tmp_path):
    """A clip that no saturation does: codes between 3 and 50."""
    generate_spatial(dense_graph(4, (5, 6), (3, 50)), tmp_path / "b", 200)
    x = np.random.default_rng(3).integers(-40, 40, (100, 5)).astype(np.float32)
    assert simulate_spatial(tmp_path / "b", x).mismatches == 0


def test_a_broken_circuit_is_seen(build, tmp_path):
    """One inverted bit of the Verilog: outputs differ."""
    described, graph = read_spatial(build)
    (tmp_path / "rtl").mkdir()
    text = (build / "rtl" / "nbqnn.v").read_text()
    index = text.index("module nbqnn_spatial(")
    head, top = text[:index], text[index:]
    assert "assign m_axis_tdata = " in top
    broken = head + top.replace("assign m_axis_tdata = ", "assign m_axis_tdata = ~", 1)
    (tmp_path / "rtl" / "nbqnn.v").write_text(broken)
    codes = np.random.default_rng(2).integers(-32, 32, (5, 7))
    result = run_stream(tmp_path, described, codes)
    assert not np.array_equal(result.codes, run_codes(graph, {"x": codes}))


def test_equal_graphs_give_equal_files(build, tmp_path):
    generate_spatial(dense_graph(), tmp_path / "again", 400)
    for name in ("rtl/nbqnn.v", "rtl/nbqnn_xcup.v", "hw.json", "network.graph"):
        assert (tmp_path / "again" / name).read_bytes() == (build / name).read_bytes()


def test_build_tells_what_it_is(build):
    described = json.loads((build / "hw.json").read_text())
    assert described["kind"] == "spatial"
    assert is_spatial(build)
    assert not is_spatial(build / "rtl")


def test_slower_clocks_have_more_additions_between_registers():
    plans = [plan_network(dense_graph(), levels_for(mhz)) for mhz in (150, 500)]
    assert plans[0].latency < plans[1].latency
    assert estimated_mhz(levels_for(400)) >= 400


def test_what_is_no_circuit_is_refused(tmp_path):
    with pytest.raises(NbqnnError, match=r"one addition between registers .* not 2000 MHz"):
        levels_for(2000)
    with pytest.raises(NbqnnError, match=r"an accelerator takes the program of compile$"):
        read_spatial(tmp_path)
    with pytest.raises(SpatialError, match="initiation interval must be 1 or more, not 0"):
        plan_network(dense_graph(), 3, 0)
