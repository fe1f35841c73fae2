"""hw.array: elements, arrays and channel-wise units against NumPy."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.array.designs import ARRAYS, ELEMENTS, MAXIMA, PRODUCTS, SUMS, array_parts


@pytest.mark.timeout(600)
def test_array_parts(tmp_path):
    design = array_parts()
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_array.py")
    passed = run_bench(verilog, design.module_name, bench)
    assert passed == len(ELEMENTS) + 2 * (len(ARRAYS) + len(MAXIMA) + len(SUMS) + len(PRODUCTS))
