"""hw.rtl.post.drain: results of groups, one to three positions a cycle."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.post.designs import DRAINS, drain_parts


@pytest.mark.timeout(300)
def test_drains(tmp_path):
    design = drain_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_drain.py")
    assert run_bench(verilog, design.module_name, bench) == 2 * len(DRAINS)
