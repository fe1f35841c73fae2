# amaranth: UnusedElaboratable=no
"""Random small graphs as circuits, in Amaranth's simulator: no build, so many can be tried."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.spatial.lowering import plan_network
from hw.spatial.pacer import Pacer
from hw.spatial.plan import NetworkPlan
from hw.spatial.stream import CircuitStream
from nbqnn_train.graph import Graph, run_codes, tensor_types
from tests.hw.spatial.maps import Maps, random_maps, valid_maps
from tests.nightly import NIGHTLY

_IMAGES = 4
_CYCLES = 20_000


def _beats(codes: np.ndarray, channels: int, bits: int) -> list[int]:
    positions = codes.reshape(len(codes), channels, -1).transpose(0, 2, 1).reshape(-1, channels)
    mask = (1 << bits) - 1
    return [sum((int(c) & mask) << bits * n for n, c in enumerate(p)) for p in positions]


def _streamed(top: CircuitStream, beats: list[int], results: int, stall: float, random):
    """Beats that come out, and the cycles from the first beat in to the first one out."""
    found, begins = [], []

    async def bench(ctx):
        sent, offered = 0, False
        for cycle in range(_CYCLES):
            offered = sent < len(beats) and (offered or random.random() >= stall)
            taking = random.random() >= stall
            ctx.set(top.s_axis_tvalid, offered)
            ctx.set(top.s_axis_tdata, beats[sent] if offered else 0)
            ctx.set(top.m_axis_tready, taking)
            if taking and ctx.get(top.m_axis_tvalid):
                found.append((cycle, ctx.get(top.m_axis_tdata)))
            if offered and ctx.get(top.s_axis_tready):
                begins.append(cycle)
                sent, offered = sent + 1, False
            if len(found) == results:
                return
            await ctx.tick()

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(found) == results
    return [data for _, data in found], found[0][0] - begins[0]


def check(
    seed: int, graph: Graph, interval: int | None = None, stall: float | None = None
) -> NetworkPlan:
    """Compares outputs and latency of a graph's circuit with the interpreter's and the plan's."""
    random = np.random.default_rng(seed)
    some, levels = int(random.integers(1, 5)), int(random.integers(1, 5))
    any_stall = float(random.choice([0.0, 0.3]))
    stall = any_stall if stall is None else stall
    types = tensor_types(graph)
    source, result = types["x"], types[graph.outputs[0]]
    codes = random.integers(source.low, source.high + 1, (_IMAGES, *source.shape))
    codes[1] = random.choice([source.low, source.high], source.shape)
    expected = _beats(run_codes(graph, {"x": codes}), result.shape[0], result.bits)
    plan = plan_network(graph, levels, interval or some)
    top = CircuitStream(plan)
    beats = _beats(codes, source.shape[0], source.bits)
    found, latency = _streamed(top, beats, len(expected), stall, random)
    assert found == expected, f"seed {seed}"
    if not stall:
        assert latency == top.latency, f"seed {seed}"
    return plan


@pytest.mark.parametrize("part", range(20 if NIGHTLY else 3))
def test_random_graphs_are_the_interpreters(part):
    graphs = valid_maps(1000 * part)
    for _ in range(10 if NIGHTLY else 2):
        check(*next(graphs))


def test_sums_of_what_is_always_zero():
    """Fewer bits are left of such a sum than one of its terms has alone."""
    check(52, random_maps(52))


@pytest.mark.parametrize(("size", "stride"), [((6, 9), (2, 2)), ((5, 6), (2, 1)), ((8, 9), (3, 2))])
def test_the_latency_behind_evened_slots(size, stride):
    """A window reads slots that came in bursts, so its first result waits for some of them."""
    maps = Maps(1, (2, *size))
    a = maps.conv("x", 2, (1, 1), stride=stride)
    b = maps.conv(a, 2, (2, 3), padding=(0, 0, 1, 1))
    maps.conv(maps.largest(b, (1, 2), (1, 2)), 2, (1, 2))
    plan = check(1, maps.graph(), interval=1, stall=0.0)
    evened = [part for part in plan.parts if getattr(part.build, "func", None) is Pacer]
    assert len(evened) >= 1
