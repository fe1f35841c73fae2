"""hw.rtl.control.sequencer: the steps of groups, command after command."""

from pathlib import Path

import pytest

from hw.boards.presets import PRESETS
from hw.contract.timing import ACTIVATION_READ_LATENCY, STEP_CYCLES, array_latency, sum_latency
from hw.rtl.control.compute import ComputeEngine
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.control.designs import SEQUENCERS, sequencer_parts


@pytest.mark.parametrize("name", PRESETS)
def test_no_step_waits_for_room_in_the_queue_of_groups(name):
    """A group a cycle is in the queue until its result comes; three words stay free."""
    config = PRESETS[name]
    engine = ComputeEngine(config)
    engine._MustUse__silence = True
    inside = max(array_latency(config), sum_latency(config))
    assert STEP_CYCLES + ACTIVATION_READ_LATENCY + inside + 1 <= engine._groups - 4


@pytest.mark.timeout(300)
def test_sequencer(tmp_path):
    design = sequencer_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_sequencer.py")
    assert run_bench(verilog, design.module_name, bench) == 2 * len(SEQUENCERS)
