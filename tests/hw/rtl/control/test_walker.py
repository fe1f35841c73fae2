"""hw.rtl.control.walker, hw.rtl.control.group_walker: the positions of layers, in groups."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.control.designs import WALKERS, walker_parts


@pytest.mark.timeout(300)
def test_walkers(tmp_path):
    design = walker_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_walker.py")
    assert run_bench(verilog, design.module_name, bench) == 2 * len(WALKERS)
