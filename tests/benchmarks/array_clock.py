"""The clock that a preset's array reaches on its own, placed and routed for an ECP5-85F.

    python -m tests.benchmarks.array_clock [PRESET]

``ulx3s`` if there is none. Out of context: paths from and to pins do not count.
"""

import json
import sys
import tempfile
from pathlib import Path

import hw.synth
from hw.boards.presets import load_config
from hw.boards.registry import find_board
from hw.rtl.generate import accelerator_verilog
from hw.synth.hierarchy import direct_instances
from hw.synth.mapping import synthesis_passes
from hw.synth.nextpnr import part_options, run_nextpnr_tool
from hw.synth.nextpnr_report import read_nextpnr_report
from hw.synth.yosys import ARRAY_PREFIX
from hw.tools.process import run_python

CLOCK_MHZ = 150
_YOSYS = Path(hw.synth.__file__).parent / "yosys_process.py"


def main(preset: str = "ulx3s"):
    config, board = load_config(preset=preset), find_board("ulx3s")
    verilog = accelerator_verilog(config)
    # Modules come before those that use them.
    top = [name for name in direct_instances(verilog) if name.startswith(ARRAY_PREFIX)][-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "array.v").write_text(verilog, encoding="utf-8")
        passes = [
            "read_verilog array.v",
            *synthesis_passes(board.family, top),
            "write_json netlist.json",
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
    lanes = config.multiplies_per_cycle
    print(f"{board.part}: {top}, {lanes} lanes")
    print(f"{report.fmax_mhz:.1f} MHz of {CLOCK_MHZ} MHz asked for")
    print(f"slowest path: {report.critical_path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
