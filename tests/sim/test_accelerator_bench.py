"""sim.accelerator_bench: an accelerator behind the models of cocotbext-axi."""

from pathlib import Path

import pytest

from hw.rtl.verilog import emit
from sim.runner import run_bench
from tests.sim.designs import Copier


@pytest.mark.timeout(300)
def test_copier():
    design = Copier(64)
    bench = Path(__file__).with_name("bench_copier.py")
    assert run_bench(emit(design), design.module_name, bench) == 3
