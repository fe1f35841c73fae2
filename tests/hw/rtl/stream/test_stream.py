# amaranth: UnusedElaboratable=no
"""hw.stream: skid buffer, queue, packer and unpacker."""

from pathlib import Path

import pytest
from amaranth.hdl import signed
from amaranth.lib import data

from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.gearbox import Packer, Unpacker
from hw.rtl.stream.skid import SkidBuffer
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.stream.designs import StreamParts


@pytest.mark.timeout(300)
def test_stream_parts(tmp_path):
    verilog = emit(StreamParts())
    assert lint(verilog, StreamParts.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_stream.py")
    assert run_bench(verilog, StreamParts.module_name, bench) == 9 * 4 + 9 + 4 + 2


@pytest.mark.parametrize(
    ("create", "error", "message"),
    [
        (lambda: StreamFifo(8, 2), ValueError, "Depth must be 3 or more, not 2"),
        (lambda: StreamFifo(8, "4"), TypeError, "Depth must be an integer, not '4'"),
        (lambda: Packer(0, 4), ValueError, "Beat width must be 1 or more, not 0"),
        (lambda: Unpacker(8, 0), ValueError, "Beats must be 1 or more, not 0"),
        (lambda: Packer(8, 2.0), TypeError, r"Beats must be an integer, not 2\.0"),
    ],
)
def test_refused(create, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        create()


def test_payloads_of_equal_bits_share_a_module():
    assert StreamFifo(8, 4).module_name == "nbqnn_stream_fifo_u8_depth4"
    assert SkidBuffer(signed(5)).module_name == "nbqnn_skid_buffer_s5"
    layout = data.StructLayout({"a": 3, "b": signed(4)})
    assert StreamFifo(layout, 4).module_name == StreamFifo(7, 4).module_name
