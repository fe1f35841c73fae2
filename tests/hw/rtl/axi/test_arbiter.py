# amaranth: UnusedElaboratable=no
"""hw.rtl.axi.arbiter: several requesters on one reader."""

from pathlib import Path

import pytest

from hw.rtl.axi.arbiter import ReadArbiter
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.axi.designs import SharedReader


@pytest.mark.timeout(300)
def test_shared_reader(tmp_path):
    verilog = emit(SharedReader())
    assert lint(verilog, SharedReader.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_arbiter.py")
    assert run_bench(verilog, SharedReader.module_name, bench) == 11


@pytest.mark.parametrize(
    ("requesters", "error", "message"),
    [
        (1, ValueError, "Requesters must be 2 or more, not 1"),
        (2.0, TypeError, r"Requesters must be an integer, not 2\.0"),
    ],
)
def test_refused_requesters(requesters, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        ReadArbiter(requesters=requesters, address_width=32, data_width=64, length_width=16)
