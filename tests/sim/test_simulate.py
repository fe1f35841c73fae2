"""sim.simulate: where a wrong program differs first, and when it was computed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hw.boards.presets import PRESETS
from hw.boards.registry import find_memory
from hw.compiler import compile_graph
from hw.contract.memory_timing import DDR4_REFRESH
from nbqnn_train.graph import run
from sim.runs import longest_run
from sim.simulate import simulate_program
from sim.traces import TraceRequest
from tests.cli.networks import small_graph


def test_a_wrong_weight_is_found():
    graph = small_graph()
    program = compile_graph(graph, PRESETS["tiny"])
    x = np.random.default_rng(5).normal(0, 2, (3, 1, 8, 8)).astype(np.float32)
    # Black: no weight matters.
    x[0] = 0
    right = simulate_program(program, x)
    assert (right.images, right.mismatches, right.first_mismatch) == (3, 0, None)

    # The first layer's weights are in the first word; each of its bytes is of several filters.
    wrong = replace(program, parameters=bytes([program.parameters[0] ^ 7]) + program.parameters[1:])
    result = simulate_program(wrong, x)
    found = result.first_mismatch
    # It stops there.
    assert (result.images, result.mismatches, found.image) == (2, 1, 1)
    assert (found.layer, found.channel) == ("conv", 0)
    codes = run(graph, x, trace=True)["conv_out"]
    assert found.expected == codes[(1, 0, *found.position)] != found.actual
    begin, end = found.cycles
    assert begin == 0
    assert end == round(right.layers[0].cycles)


def test_a_slow_memory_takes_its_time():
    """A run that goes on is not taken for one that hangs."""
    program = compile_graph(small_graph(), PRESETS["tiny"])
    timing = replace(find_memory("zcu102"), bytes_per_s=0.18e6).timing(program.config.clock_mhz)
    x = np.random.default_rng(5).normal(0, 2, (1, 1, 8, 8)).astype(np.float32)
    result = simulate_program(program, x, timing=timing)
    assert (result.images, result.mismatches, result.error) == (1, 0, None)
    assert result.cycles_per_image > longest_run(program)


def test_windows_of_signals():
    program = compile_graph(small_graph(), PRESETS["tiny"])
    # The layers take 100, 200 and 300 cycles.
    result = SimpleNamespace(layer_cycles=[100, 200, 300], cycles=610)

    def window(**options) -> tuple[int, int | None]:
        trace = TraceRequest(path=Path("x"), form="vcd", **options).trace(program, result)
        return trace.begin, trace.end

    assert window() == (0, None)
    assert window(cycles=(7, 9)) == (7, 9)
    # With a margin on both sides, where there is room.
    assert window(layer="conv") == (0, 150)
    assert window(layer="linear") == (250, 650)
    assert window(layer="linear", cycles=(7, 9)) == (307, 309)


def test_memory_of_a_board_in_cycles():
    timing = replace(find_memory("zcu102"), **DDR4_REFRESH).timing(250)
    assert (timing.read_latency, timing.write_latency) == (32, 16)
    assert timing.bytes_per_cycle == 17.1e9 / 250e6
    assert (timing.refresh_every, timing.refresh_cycles) == (1950, 88)
    assert find_memory("zcu102").timing(250).refresh_cycles == 0
