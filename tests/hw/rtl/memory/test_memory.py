"""hw.memory: the activation memory's ports and arbitration, and the wide memory."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.memory.designs import ACTIVATIONS, memory_parts


@pytest.mark.timeout(600)
def test_memories(tmp_path):
    design = memory_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_memory.py")
    assert run_bench(verilog, design.module_name, bench) == 2 * len(ACTIVATIONS) + 1
