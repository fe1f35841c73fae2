"""Counters of stalls: every cycle has one cause, the right one, and the cycle model knows it."""

from itertools import product

import pytest
from amaranth.sim import Simulator

from hw.compiler import compile_graph
from hw.contract.causes import Stall
from hw.contract.memory_timing import MemoryTiming
from hw.model.cycles import estimate_cycles
from hw.rtl.control.stalls import StallCauses
from nbqnn_train.graph import Flatten, Input
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, small_network, traced_codes
from tests.hw.runs import compare

CONFIG = VERILATED["shift_64"]
EARLY = ("walking", "queued", "wait_load", "wait_compute", "wait_store", "full_load", "full_store",
         "ended", "storing")  # fmt: skip


def wanted(step, held, walking, queued, load, compute, store, full_load, full_store, ended, left):
    """The causes' table, read from the array backwards; None for a step."""
    if step:
        return None
    if held or (not walking and queued and compute and not load):
        return Stall.DRAIN
    if walking or (queued and not load and not store):
        return Stall.OTHER
    if load if queued else full_load:
        return Stall.LOAD
    if store if queued else full_store or (ended and left):
        return Stall.STORE
    return Stall.OTHER if ended else Stall.FETCH


def test_one_cause_for_every_state():
    parts = StallCauses()
    cases = list(product((0, 1), repeat=2 + len(EARLY)))

    async def bench(ctx):
        # Nothing is known yet, but a cycle is never without a cause.
        assert (ctx.get(parts.stepping), ctx.get(parts.stalls)) == (0, 1 << Stall.OTHER)
        for step, held, *early in cases:
            for name, value in zip(EARLY, early, strict=True):
                ctx.set(getattr(parts, name), value)
            await ctx.tick()
            ctx.set(parts.step, step)
            ctx.set(parts.held, held)
            await ctx.tick()
            cause = wanted(step, held, *early)
            found = ctx.get(parts.stepping), ctx.get(parts.stalls)
            assert found == ((1, 0) if cause is None else (0, 1 << cause)), (step, held, *early)

    simulator = Simulator(parts)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def layer(kind: str):
    """A network of one layer; "wide" has another one whose results are few."""
    net = Network(seed=1)
    shape = (128, 1, 1) if kind == "linear" else (4, 12, 12)
    net.add(Input, "image", shape=shape, bits=8, signed=True, exponent=0)
    match kind:
        case "linear":
            net.add(Flatten, "flat").linear("layer", 128, 3)
        case "1x1":
            net.conv("layer", (32, 4, 1, 1), 3)
        case "3x3":
            net.conv("layer", (8, 4, 3, 3), 3, padding=(1, 1, 1, 1))
        case "wide":
            net.conv("first", (16, 4, 1, 1), 3).requantize("map", 8, True)
            net.conv("layer", (4, 16, 1, 1), 3, stride=(5, 5))
    return net.requantize("out", 8, True).graph()


@pytest.mark.parametrize(
    ("kind", "timing", "most"),
    [
        # Weights, once each; every result after a long response; commands from far away.
        ("linear", {}, "load"),
        ("1x1", {"write_latency": 1000}, "store"),
        ("3x3", {"read_latency": 200}, "fetch"),
        ("3x3", {"write_latency": 300}, "store"),
        # One step, four cycles of draining.
        ("wide", {}, "drain"),
    ],
)
def test_stalls_of_a_layer(accelerator_model, kind, timing, most):
    """The greatest cause is what the layer was made for; all are the cycle model's."""
    graph = layer(kind)
    program = compile_graph(graph, CONFIG)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=MemoryTiming(**timing))
    x = images(graph, 1)
    result = compare(driver, x[0], traced_codes(graph, x)[0])
    stalls = result.stalls
    assert max(stalls, key=stalls.get) == most, stalls
    estimate = estimate_cycles(program, MemoryTiming(**timing))
    model = estimate.stalls
    assert sum(layer.array for layer in estimate.layers) + sum(model.values()) == pytest.approx(
        estimate.cycles, abs=len(model)
    )
    # The unit that drains is modelled cycle by cycle.
    commands = program.command_count
    assert stalls["drain"] == pytest.approx(model["drain"], abs=commands)
    assert stalls["other"] == pytest.approx(model["other"], abs=2 * commands)
    # In so short a run the bus is always busy, and the model lets neither commands nor stores wait
    # behind loads: what one cause has too much the others have too little, but for what the whole
    # run is off.
    off = abs(result.cycles - estimate.cycles)
    rest = [sum(values[name] for name in ("load", "store", "fetch")) for values in (stalls, model)]
    assert rest[0] == pytest.approx(rest[1], abs=off + 3 * commands)
    assert stalls[most] == pytest.approx(model[most], abs=off + result.cycles // 20)


def test_stalls_with_pauses_and_two_kinds_of_units(accelerator_model):
    """The sum is exact in every run, also of a network in which units take turns."""
    graph = small_network(act_bits=8, weight_bits=3, scale=False)
    program = compile_graph(graph, CONFIG)
    x = images(graph, 1)
    expected = traced_codes(graph, x)[0]
    for timing in ({"stall_rate": 0.5}, {"bytes_per_cycle": 0.5}, {"read_latency": 500}):
        driver, _ = accelerator_model(CONFIG).driver(program, timing=MemoryTiming(**timing))
        result = compare(driver, x[0], expected)
        assert min(result.stalls.values()) > 0
        assert result.stalls["drain"] < result.cycles // 8
