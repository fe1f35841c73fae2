"""hw.rtl.accelerator between the models of cocotbext-axi: each code against the interpreter."""

from pathlib import Path

import pytest

from hw.rtl.accelerator import TOP
from hw.rtl.generate import accelerator_verilog
from sim.runner import run_bench
from tests.hw.accelerators import BENCHED


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BENCHED)
def test_accelerator(name):
    bench = Path(__file__).with_name("bench_accelerator.py")
    verilog = accelerator_verilog(BENCHED[name])
    assert run_bench(verilog, TOP, bench, parameters={"config": name}, timeout_s=250) == 6
