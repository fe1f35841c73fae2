"""hw.rtl.control.sequencer: the steps of groups, command after command."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.control.designs import SEQUENCERS, sequencer_parts


@pytest.mark.timeout(300)
def test_sequencer(tmp_path):
    design = sequencer_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_sequencer.py")
    assert run_bench(verilog, design.module_name, bench) == 2 * len(SEQUENCERS)
