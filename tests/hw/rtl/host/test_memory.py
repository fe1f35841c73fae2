# amaranth: UnusedElaboratable=no
"""hw.rtl.host.memory between an AXI master that is not ours and the host's port."""

from pathlib import Path

import pytest

from hw.rtl.host.memory import AxiMemory
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.host.designs import MemoryBench


@pytest.mark.timeout(300)
def test_memory():
    bench = Path(__file__).with_name("bench_memory.py")
    assert run_bench(emit(MemoryBench()), MemoryBench.module_name, bench) == 4


def test_lint(tmp_path):
    assert lint(emit(MemoryBench()), MemoryBench.module_name, tmp_path) == ""


@pytest.mark.parametrize("words", [0, 512, 1000, 1025])
def test_sizes(words):
    with pytest.raises(ValueError, match=f"^Words must be a power of two from 1024, not {words}$"):
        AxiMemory(address_width=32, words=words)
