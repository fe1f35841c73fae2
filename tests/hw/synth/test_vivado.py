"""The batch folder for Vivado, run in plain Tcl against recorded commands."""

import shutil
import subprocess

import pytest

from hw.boards import find_board
from hw.synth.vivado import write_vivado
from nbqnn_train.graph.errors import NbqnnError

#: Stands in for Vivado: commands are written down; two of them answer.
RECORDER = r"""
proc unknown {args} {
    set log [open $::env(RECORD) a]
    puts $log $args
    close $log
    switch -- [lindex $args 0] {
        get_timing_paths { return [lindex $args end] }
        get_property { return [expr {[lindex $args 2] eq "-setup" ? $::env(SETUP) : 0.021}] }
    }
    return ""
}
source [lindex $argv 0]
"""


@pytest.fixture
def vivado(build, tmp_path):
    """Runs the written script; returns (exit code, output, recorded commands)."""
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")

    def run(setup_slack):
        script = write_vivado(build, find_board("zcu102"))[-1]
        recorder, record = tmp_path / "recorder.tcl", tmp_path / "record"
        recorder.write_text(RECORDER)
        done = subprocess.run(
            ["tclsh", recorder, script],
            env={"RECORD": str(record), "SETUP": str(setup_slack), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr, record.read_text().splitlines()

    return run


def test_folder_holds_all_that_vivado_needs(build):
    files = write_vivado(build, find_board("zcu102"))
    folder = build / "vivado-zcu102"
    assert sorted(str(file.relative_to(folder)) for file in files) == [
        "build.tcl",
        "constraints.xdc",
        "rtl/nbqnn.v",
        "settings.tcl",
    ]
    assert (folder / "rtl/nbqnn.v").read_text() == (build / "rtl/nbqnn.v").read_text()
    # 200 MHz is 5 ns.
    assert (
        folder / "constraints.xdc"
    ).read_text() == "create_clock -name clk -period 5.000 [get_ports clk]\n"


def test_commands_come_in_order_with_the_boards_part(vivado, build):
    code, output, commands = vivado(setup_slack=0.3)
    assert code == 0, output
    assert "timing met" in output
    names = [command.split()[0] for command in commands]
    flow = ["create_project", "read_verilog", "read_xdc", "synth_design", "opt_design"]
    flow += ["place_design", "phys_opt_design", "route_design"]
    assert [name for name in names if name in flow] == flow
    assert "create_project -in_memory -part xczu9eg-ffvb1156-2-e" in commands
    assert "synth_design -top nbqnn -part xczu9eg-ffvb1156-2-e -mode out_of_context" in commands
    assert f"read_verilog {build}/vivado-zcu102/rtl/nbqnn.v" in commands
    for stage in ("synth", "route"):
        report = f"{build}/vivado-zcu102/reports/{stage}_timing.rpt"
        assert f"report_timing_summary -file {report}" in commands
    summary = (build / "vivado-zcu102" / "reports" / "summary.txt").read_text()
    assert summary == "clock_mhz 200\nsetup_slack_ns 0.3\nhold_slack_ns 0.021\ntiming met\n"


def test_a_missed_clock_is_an_error(vivado):
    code, output, _ = vivado(setup_slack=-0.1)
    assert code == 1
    assert "timing not met" in output


def test_a_board_that_vivado_does_not_know_is_refused(build):
    with pytest.raises(NbqnnError, match=r"^board for Vivado must be one of zcu102, not 'ulx3s'$"):
        write_vivado(build, find_board("ulx3s"))
    assert not (build / "vivado-ulx3s").exists()
