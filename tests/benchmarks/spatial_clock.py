"""The clock that a dense network as a circuit reaches, placed and routed for an ECP5-85F.

    python -m tests.benchmarks.spatial_clock

16-16-5, 3-bit codes with 20 % zeros, 8-bit activations, one addition between registers. Out of
context: paths from and to pins do not count.
"""

import json
import tempfile
from pathlib import Path

import hw.synth
from hw.boards.registry import find_board
from hw.rtl.verilog import emit
from hw.spatial.lowering import plan_network
from hw.spatial.network import Network
from hw.synth.nextpnr import part_options, run_nextpnr_tool
from hw.synth.nextpnr_report import read_nextpnr_report
from hw.tools.process import run_python
from tests.benchmarks.spatial import jet_network

CLOCK_MHZ = 150
_SIZES = (16, 16, 5)
_YOSYS = Path(hw.synth.__file__).parent / "yosys_process.py"


def main():
    board = find_board("ulx3s")
    plan = plan_network(jet_network(_SIZES), 1)
    top = Network(plan)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "circuit.v").write_text(emit(top), encoding="utf-8")
        passes = [
            "read_verilog circuit.v",
            f"synth_ecp5 -top {top.module_name} -json netlist.json",
        ]
        (folder / "passes.json").write_text(json.dumps(passes), encoding="utf-8")
        run_python("Yosys", [_YOSYS, "passes.json"], log=folder / "yosys.log", folder=folder)
        run_nextpnr_tool(
            "nextpnr-ecp5",
            [
                *part_options(board),
                *("--json", "netlist.json", "--out-of-context", "--freq", str(CLOCK_MHZ)),
                *("--timing-allow-fail", "--seed", "1", "--report", "report.json"),
            ],
            log=folder / "nextpnr.log",
            folder=folder,
        )
        report = read_nextpnr_report(folder / "report.json")
    print(f"{board.part}: {'-'.join(map(str, _SIZES))}, latency {plan.latency} cycles")
    print(f"{report.area.lut} LUT, {report.area.ff} FF")
    print(f"{report.fmax_mhz:.1f} MHz of {CLOCK_MHZ} MHz asked for")
    print(f"slowest path: {report.critical_path}")


if __name__ == "__main__":
    main()
