"""hw.rtl.post.requantizer: against the interpreter, with the compiler's parameters."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.post.designs import REQUANTIZERS, requantizer_parts


@pytest.mark.timeout(600)
def test_requantizers(tmp_path):
    design = requantizer_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_requantizer.py")
    assert run_bench(verilog, design.module_name, bench) == len(REQUANTIZERS)
