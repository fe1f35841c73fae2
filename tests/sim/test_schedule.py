"""sim.watch, sim.schedule: when the engines work, seen from outside; the run goes on as without."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.contract.isa import DESCRIPTOR_BYTES, Opcode, read_commands
from hw.contract.memory_timing import MemoryTiming
from sim.design import generated_design
from sim.results import SimulationResult
from sim.schedule import layer_windows
from sim.simulate import open_driver, simulate_program
from sim.verilated.accelerator import BURSTS
from sim.watch import Watched
from tests.cli.networks import small_graph

#: The model's windows begin with the command, those seen with its address on the bus.
NEAR = 24


@pytest.fixture(scope="module")
def program():
    return compile_graph(small_graph(), PRESETS["tiny"])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).normal(0, 2, (2, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def design(program):
    return generated_design(program)


@pytest.mark.parametrize("stall_rate", [0.0, 0.3])
def test_watching_changes_nothing(program, design, images, stall_rate):
    timing = MemoryTiming(stall_rate=stall_rate, seed=3)
    runs = {}
    for watched in (False, True):
        bus, driver = open_driver(program, design.verilog, timing, watched=watched)
        with bus:
            runs[watched] = driver.run(images[0])
            seen = bus.seen
            driver.run(images[1])
            assert bus.seen is seen  # the first run alone
        assert (seen is not None) == watched
    plain, again = (replace(run, outputs={}) for run in runs.values())
    assert np.array_equal(runs[True].outputs["logits"], runs[False].outputs["logits"])
    if not stall_rate:  # pauses are drawn by the cycle, and accesses to registers take some
        assert again == plain
    assert (seen.bursts["end"] > seen.bursts["begin"]).all()
    # The accelerator's own counter has the one store, from its command on.
    (store,) = seen.bursts[seen.bursts["writes"] == 1]
    assert 0 <= again.store_cycles - (store["end"] - store["begin"]) <= NEAR
    assert seen.steps[-1, 1] == again.array_cycles


def test_windows_beside_the_model(program, design, images):
    result = simulate_program(program, images, design=design)
    ends = np.cumsum([layer.cycles for layer in result.layers])
    for layer, end in zip(result.layers, ends, strict=True):
        assert layer.windows.keys() == layer.estimated_windows.keys()
        assert layer.windows["compute"][1] == end
        for engine, window in layer.windows.items():
            wanted = layer.estimated_windows[engine]
            assert np.abs(np.subtract(window, wanted)).max() <= NEAR, (layer.name, engine)
    assert any("store" in layer.windows for layer in result.layers)
    again = SimulationResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again.to_json() == result.to_json()


def test_windows_of_a_batch(design, images):
    """One for each time that a layer runs, near the model's; the array does one thing at a time."""
    program = compile_graph(small_graph(), PRESETS["tiny"], batch=2)
    result = simulate_program(program, images, design=design)
    computing = []
    for layer in result.layers:
        runs = sum(one.name == layer.name for one in program.layers)
        assert layer.windows.keys() == layer.estimated_windows.keys()
        assert len(layer.windows["compute"]) == 2 * runs
        computing += zip(layer.windows["compute"][::2], layer.windows["compute"][1::2], strict=True)
        for engine, window in layer.windows.items():
            wanted = layer.estimated_windows[engine]
            assert np.abs(np.subtract(window, wanted)).max() <= NEAR, (layer.name, engine)
    assert len(computing) == len(program.layers) > len(result.layers)
    computing.sort()
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(computing))
    assert 0 <= result.cycles_per_image * 2 - computing[-1][1] < 100
    again = SimulationResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again.to_json() == result.to_json()


def test_bursts_belong_to_layers_in_their_order(program):
    """Made up: bursts of at most 3 beats, one every 10 cycles, descriptors between them."""
    base, rows, cycle = 0x5000, [], 0
    wanted = [{} for _ in program.layers]
    for number, command in enumerate(read_commands(program.commands)):
        rows.append((base + number * DESCRIPTOR_BYTES, cycle, cycle + 5, 8, 0))
        cycle += 10
        if command.opcode not in (Opcode.LOAD, Opcode.STORE):
            continue
        writes = command.opcode is Opcode.STORE
        left, begin = command.rows * command.beats, cycle
        while left:
            beats = min(3, left)
            rows.append((0x100000 * (1 + writes), cycle, cycle + 7, beats, writes))
            left, cycle = left - beats, cycle + 10
        engine = command.opcode.name.lower()
        first = wanted[command.layer].get(engine, (begin, 0))[0]
        wanted[command.layer][engine] = (first, cycle - 3)
    # The layers take 4, 0 and 6 steps: from cycle 105 on, and from 120 on after a pause.
    steps = [(100, 0), (106, 2), (112, 4), (118, 4), (124, 5), (130, 10)]
    seen = Watched(bursts=np.array(rows, BURSTS), steps=np.array(steps, np.int64), program=base)
    windows = layer_windows(program, seen, [4, 0, 6], [115, 116, 140])
    for found, expected in zip(windows, wanted, strict=True):
        compute = found.pop("compute", None)
        assert found == expected
        expected["compute"] = compute
    assert wanted[0]["compute"] == (104, 115)
    assert wanted[1]["compute"] is None
    assert wanted[2]["compute"] == (123, 140)
