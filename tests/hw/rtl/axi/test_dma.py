# amaranth: UnusedElaboratable=no
"""hw.rtl.axi: reader, writer and bursts against an AXI memory, and refusals."""

from pathlib import Path

import pytest

from hw.rtl.axi.bursts import BurstSplitter
from hw.rtl.axi.read_dma import AxiReader
from hw.rtl.axi.write_dma import AxiWriter
from hw.rtl.verilog import emit
from sim.runner import run_bench
from sim.verilator import lint
from tests.hw.rtl.axi.designs import Dma


@pytest.mark.parametrize(
    ("data_width", "burst_beats", "outstanding"),
    # The widths with usual bursts, then the longest and the shortest that there are.
    [(32, 16, 4), (64, 16, 4), (128, 16, 4), (64, 256, 2), (128, 1, 2)],
)
@pytest.mark.timeout(300)
def test_reader_and_writer(data_width, burst_beats, outstanding, tmp_path):
    options = {"data_width": data_width, "burst_beats": burst_beats, "outstanding": outstanding}
    design = Dma(**options)
    verilog = emit(design)
    assert lint(verilog, design.module_name, tmp_path) == ""
    bench = Path(__file__).with_name("bench_dma.py")
    passed = run_bench(verilog, design.module_name, bench, parameters=options)
    delays = 2 * burst_beats if burst_beats < 32 else 3
    assert passed == 13 + delays - (burst_beats * outstanding < 64)


OPTIONS = {
    "address_width": 32,
    "data_width": 64,
    "outstanding": 4,
    "length_width": 16,
    "burst_beats": 16,
}


@pytest.mark.parametrize("component", [AxiReader, AxiWriter])
@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("address_width", 12, ValueError, r"Address width must be 13\.\.64 bits, not 12"),
        ("address_width", "32", TypeError, "Address width must be an integer, not '32'"),
        ("data_width", 48, ValueError, "Data width must be 8, 16, .* bits, not 48"),
        ("outstanding", 1, ValueError, "Outstanding bursts must be 2 or more, not 1"),
        ("outstanding", None, TypeError, "Outstanding bursts must be an integer, not None"),
        ("length_width", 33, ValueError, r"Length width must be 1\.\.32 bits, not 33"),
        ("burst_beats", 12, ValueError, "Beats of a burst must be a power of two up to 256"),
        ("burst_beats", 512, ValueError, "Beats of a burst must be a power of two up to 256"),
    ],
)
def test_refused_options(component, option, value, error, message):
    with pytest.raises(error, match=f"^{message}"):
        component(**(OPTIONS | {option: value}))


def test_longest_burst_is_a_page():
    options = {"address_width": 32, "length_width": 16}
    BurstSplitter(data_width=512, burst_beats=64, **options)
    with pytest.raises(ValueError, match=r"up to 64 for 512-bit data, not 128$"):
        BurstSplitter(data_width=512, burst_beats=128, **options)
