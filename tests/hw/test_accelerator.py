"""hw.rtl.accelerator between the models of cocotbext-axi: each code against the interpreter."""

from pathlib import Path

import pytest

from hw.rtl.accelerator import TOP
from sim.runner import run_bench
from tests.hw.accelerators import BENCHED, verilog_of


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BENCHED)
def test_accelerator(name):
    bench = Path(__file__).with_name("bench_accelerator.py")
    verilog = verilog_of(BENCHED[name])
    assert run_bench(verilog, TOP, bench, parameters={"config": name}, timeout_s=250) == 6
