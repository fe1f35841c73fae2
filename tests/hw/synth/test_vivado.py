"""The folders for Vivado, run in plain Tcl against recorded commands."""

import re
import shutil
import subprocess
from collections import Counter

import pytest

from hw.boards.presets import load_config
from hw.boards.registry import BOARDS, find_board
from hw.rtl.generate import accelerator_verilog
from hw.synth.vivado import run_vivado, vivado_folder, write_vivado
from hw.synth.vivado_processors import PROCESSORS
from nbqnn_train.graph.errors import NbqnnError
from sim.verilator import lint
from tests.hw.synth.tops import MASTERS, empty_build, top_verilog

BOARD = find_board("zcu102")
PART = "xczu9eg-ffvb1156-2-e"
#: Stands in for Vivado: commands are written down, one a line, arguments apart by \x1f; those that
#: name objects answer with the name, and the implementation leaves a bitstream.
RECORDER = r"""
proc unknown {args} {
    set log [open $::env(RECORD) a]
    puts $log [join [string map {"\n" " "} $args] "\x1f"]
    close $log
    set last [lindex $args end]
    switch -glob -- [lindex $args 0] {
        get_board_parts { return $::env(BOARD_PARTS) }
        get_timing_paths - get_runs - get_bd_* - create_bd_cell - get_files { return $last }
        make_wrapper { return system_wrapper.v }
        launch_runs {
            if {"write_bitstream" in $args} {
                set folder [file join $::here project nbqnn.runs [lindex $args 1]]
                file mkdir $folder
                close [open [file join $folder system_wrapper.bit] w]
            }
        }
        get_property {
            switch -- [lindex $args 1] {
                SLACK { return [expr {[lindex $args 2] eq "-setup" ? $::env(SETUP) : 0.021}] }
                STATS.WNS { return [dict get $::env(WNS) $last] }
                PROGRESS { return $::env(PROGRESS) }
                STATUS { return "place_design ERROR" }
            }
        }
    }
    return ""
}
cd [file dirname [lindex $argv 0]]
source [lindex $argv 0]
"""


@pytest.fixture
def vivado(tmp_path):
    """Runs a folder's script; returns (exit code, output, recorded commands as word lists)."""
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")

    def run(
        folder,
        setup=0.3,
        progress="100%",
        board_parts="xilinx.com:zcu102:part0:3.4",
        slacks="impl_1 0.3",
        script="build.tcl",
    ):
        recorder, record = tmp_path / "recorder.tcl", tmp_path / "record"
        recorder.write_text(RECORDER)
        record.unlink(missing_ok=True)
        done = subprocess.run(
            ["tclsh", recorder, folder / script],
            env={
                "RECORD": str(record),
                "SETUP": str(setup),
                "PROGRESS": progress,
                "WNS": slacks,
                "BOARD_PARTS": board_parts,
                "PATH": "/usr/bin:/bin",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        commands = [line.split("\x1f") for line in record.read_text().splitlines()]
        return done.returncode, done.stdout + done.stderr, commands

    return run


@pytest.fixture
def build(tmp_path):
    def make(ports=1, **values):
        text = top_verilog(MASTERS[ports], values.get("axi_data_width", 128))
        return empty_build(tmp_path / "build", text, **values)

    return make


def of(commands, *names):
    return [command for command in commands if command[0] in names]


# The project: block design to bitstream ---------------------------------------------------------


def test_project_folder_holds_all_that_vivado_needs(build):
    path = build(clock_mhz=200)
    files = write_vivado(path, BOARD)
    folder = path / "vivado-zcu102"
    assert vivado_folder(path, BOARD) == folder
    assert [str(file.relative_to(folder)) for file in files] == [
        "build.json",
        "rtl/nbqnn.v",
        "settings.tcl",
        "summary.tcl",
        "rtl/nbqnn_axi.v",
        "processors.tcl",
        "board.xdc",
        "build.tcl",
    ]
    assert (folder / "rtl/nbqnn.v").read_text() == (path / "rtl/nbqnn.v").read_text()


@pytest.mark.parametrize("ports", [1, 2, 3, 4])
def test_project_commands(vivado, build, ports):
    """Order, objects and values; every interface, clock, reset and address segment connected."""
    path = build(ports, clock_mhz=225)
    write_vivado(path, BOARD)
    folder = path / "vivado-zcu102"
    code, output, commands = vivado(folder)
    assert code == 0, output
    assert "timing met" in output

    flow = [
        *("create_project", "add_files", "create_bd_design", "apply_bd_automation"),
        *("validate_bd_design", "save_bd_design", "generate_target", "make_wrapper"),
        *("launch_runs", "open_run", "report_utilization", "write_hw_platform"),
    ]
    first = [next(i for i, c in enumerate(commands) if c[0] == name) for name in flow]
    assert first == sorted(first)
    assert of(commands, "create_project")[0][-1] == PART
    assert [
        "set_property", "board_part", "xilinx.com:zcu102:part0:3.4", "",
    ] in of(commands, "set_property")  # fmt: skip
    sources = [c[-1] for c in of(commands, "add_files")]
    assert f"{folder}/rtl/nbqnn.v {folder}/rtl/nbqnn_axi.v" in sources

    # Processor system: preset first, then what differs from it.
    preset = ["apply_bd_automation", "-rule", "xilinx.com:bd_rule:zynq_ultra_ps_e"]
    assert [*preset, "-config", 'apply_board_preset "1"', "ps"] in commands
    config = next(c for c in commands if c[:2] == ["set_property", "-dict"] and c[-1] == "ps")
    words = config[2].split()
    properties = dict(zip(words[::2], words[1::2], strict=True))
    expected = {
        "CONFIG.PSU__FPGA_PL0_ENABLE": "1",
        "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": "225",
        "CONFIG.PSU__USE__M_AXI_GP0": "1",
        "CONFIG.PSU__USE__M_AXI_GP1": "0",
        "CONFIG.PSU__USE__M_AXI_GP2": "0",
        "CONFIG.PSU__USE__IRQ0": "1",
    }
    for port in range(4):
        expected[f"CONFIG.PSU__USE__S_AXI_GP{port + 2}"] = str(int(port < ports))
        if port < ports:
            expected[f"CONFIG.PSU__SAXIGP{port + 2}__DATA_WIDTH"] = "128"
    assert properties == expected
    cells = {c[-1]: c[-2] for c in of(commands, "create_bd_cell")}
    smart = {f"memory_{port}" for port in range(ports)} | {"control"}
    assert {name for name, kind in cells.items() if kind.endswith(":smartconnect")} == smart
    assert cells["accelerator"] == "nbqnn_axi"

    # Every interface of the accelerator is one end of one net, and so is every port in use.
    ends = Counter(end for c in of(commands, "connect_bd_intf_net") for end in c[1:])
    masters = MASTERS[ports]
    wanted = {"ps/M_AXI_HPM0_FPD", "accelerator/s_axi"}
    wanted |= {f"accelerator/{master}" for master in masters}
    wanted |= {f"ps/S_AXI_HP{port}_FPD" for port in range(ports)}
    wanted |= {f"{name}/{side}_AXI" for name in smart for side in ("S00", "M00")}
    assert ends == Counter(wanted)
    nets = {tuple(c[1:]) for c in of(commands, "connect_bd_intf_net")}
    for port, master in enumerate(masters):
        assert (f"accelerator/{master}", f"memory_{port}/S00_AXI") in nets
        assert (f"memory_{port}/M00_AXI", f"ps/S_AXI_HP{port}_FPD") in nets

    wires = {}
    for command in of(commands, "connect_bd_net"):
        wires.setdefault(command[1], []).append(command[2])
    assert sorted(wires["ps/pl_clk0"]) == sorted(
        [
            *("ps/maxihpm0_fpd_aclk", "reset/slowest_sync_clk", "accelerator/aclk"),
            *(f"{name}/aclk" for name in smart),
            *(f"ps/saxihp{port}_fpd_aclk" for port in range(ports)),
        ]
    )
    held = ["accelerator/aresetn", *(f"{name}/aresetn" for name in smart)]
    assert sorted(wires["reset/peripheral_aresetn"]) == sorted(held)
    assert wires["ps/pl_resetn0"] == ["reset/ext_reset_in"]
    assert wires["accelerator/irq"] == ["ps/pl_ps_irq0"]

    assigned = {tuple(c[1:]) for c in of(commands, "assign_bd_address")}
    assert assigned == {
        ("-offset", "0xa0000000", "-range", "4K", "-target_address_space", "ps/Data",
         "accelerator/s_axi/reg0"),
        *(
            ("-target_address_space", f"accelerator/{master}",
             f"ps/SAXIGP{port + 2}/HP{port}_{part}")
            for port, master in enumerate(masters)
            for part in ("DDR_LOW", "DDR_HIGH")
        ),
    }  # fmt: skip

    assert [c[1] for c in of(commands, "launch_runs")] == ["synth_1", "impl_1", "impl_1"]
    assert ["write_bitstream" in c for c in of(commands, "launch_runs")] == [False, False, True]
    reports = {c[-1].removeprefix(f"{folder}/reports/") for c in commands if "report" in c[0]}
    assert reports == {
        *("route_utilization.rpt", "route_hierarchy.rpt", "route_timing.rpt", "route_power.rpt"),
        "route_status.rpt",
    }
    assert not of(commands, "read_saif")
    hardware = ["write_hw_platform", "-fixed", "-include_bit", "-force", "-file"]
    assert [*hardware, f"{folder}/nbqnn.xsa"] in commands
    assert (folder / "nbqnn.bit").is_file()


def test_project_of_zynq_7(vivado, build):
    """Another processor system: other names of pins, narrower ports, all memory in one segment."""
    path = build(2, axi_address_width=32, clock_mhz=100)
    write_vivado(path, find_board("pynq-z2"))
    code, output, commands = vivado(path / "vivado-pynq-z2", board_parts="tul:pynq-z2:part0:1.0")
    assert code == 0, output
    assert of(commands, "create_project")[0][-1] == "xc7z020clg400-1"
    rule = "xilinx.com:bd_rule:processing_system7"
    settings = 'make_external "FIXED_IO, DDR" apply_board_preset "1"'
    assert ["apply_bd_automation", "-rule", rule, "-config", settings, "ps"] in commands
    config = next(c for c in commands if c[:2] == ["set_property", "-dict"] and c[-1] == "ps")
    words = config[2].split()
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ": "100",
        "CONFIG.PCW_USE_M_AXI_GP0": "1",
        "CONFIG.PCW_USE_FABRIC_INTERRUPT": "1",
        "CONFIG.PCW_IRQ_F2P_INTR": "1",
        **{f"CONFIG.PCW_USE_S_AXI_HP{port}": str(int(port < 2)) for port in range(4)},
        **{f"CONFIG.PCW_S_AXI_HP{port}_DATA_WIDTH": "64" for port in range(2)},
    }
    nets = {tuple(c[1:]) for c in of(commands, "connect_bd_intf_net")}
    assert ("ps/M_AXI_GP0", "control/S00_AXI") in nets
    assert {(f"memory_{port}/M00_AXI", f"ps/S_AXI_HP{port}") for port in range(2)} <= nets
    clocked = [c[2] for c in of(commands, "connect_bd_net") if c[1] == "ps/FCLK_CLK0"]
    assert {"ps/M_AXI_GP0_ACLK", "ps/S_AXI_HP0_ACLK", "ps/S_AXI_HP1_ACLK"} <= set(clocked)
    assigned = {tuple(c[1:]) for c in of(commands, "assign_bd_address")}
    assert assigned == {
        ("-offset", "0x43c00000", "-range", "4K", "-target_address_space", "ps/Data",
         "accelerator/s_axi/reg0"),
        *(
            ("-target_address_space", f"accelerator/{master}",
             f"ps/S_AXI_HP{port}/HP{port}_DDR_LOWOCM")
            for port, master in enumerate(MASTERS[2])
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(n for n, b in BOARDS.items() if b.family in PROCESSORS))
def test_every_board(vivado, build, name):
    """Its part and its board files, by the name that Vivado has for them."""
    board = find_board(name)
    path = build()
    write_vivado(path, board)
    known = board.vivado_name or name
    code, output, commands = vivado(path / f"vivado-{name}", board_parts=f"v:{known}:part0:1.0")
    assert code == 0, output
    assert of(commands, "create_project")[0][-1] == board.part
    assert ["get_board_parts", "-latest_file_version", f"*:{known}:*"] in commands


def test_project_of_narrow_ports(vivado, build):
    path = build(axi_data_width=64, axi_address_width=32)
    write_vivado(path, BOARD)
    code, output, commands = vivado(path / "vivado-zcu102")
    assert code == 0, output
    assert any("CONFIG.PSU__SAXIGP2__DATA_WIDTH 64" in c[2] for c in of(commands, "set_property"))
    # What 32 address bits cannot reach is not assigned.
    assert not any("DDR_HIGH" in word for c in commands for word in c)


def test_project_reads_switching_activity(vivado, build):
    path = build()
    write_vivado(path, BOARD)
    folder = path / "vivado-zcu102"
    (folder / "activity.saif").write_text("(SAIFILE)")
    _, _, commands = vivado(folder)
    names = [c[0] for c in commands]
    assert ["read_saif", "-strip_path", "system_wrapper", f"{folder}/activity.saif"] in commands
    assert names.index("read_saif") < names.index("report_power")


def test_strategies_until_the_clock_is_met(vivado, build):
    """Each in a run of its own, with physical optimization after routing; the best one counts."""
    path = build()
    write_vivado(path, BOARD)
    folder = path / "vivado-zcu102"
    first, second, third, fourth = (
        *("Performance_ExplorePostRoutePhysOpt", "Performance_ExtraTimingOpt"),
        *("Performance_NetDelay_high", "Congestion_SpreadLogic_high"),
    )
    slacks = f"impl_1 -0.3 impl_{second} 0.02"
    _, _, commands = vivado(folder, slacks=slacks)
    runs = ["impl_1", f"impl_{second}"]
    assert [c[1] for c in of(commands, "launch_runs")] == ["synth_1", *runs, runs[1]]
    assert ["copy_run", "-name", runs[1], "impl_1"] in commands
    for run, strategy in zip(runs, (first, second), strict=True):
        assert ["set_property", "strategy", strategy, run] in commands
        enabled = "STEPS.POST_ROUTE_PHYS_OPT_DESIGN.IS_ENABLED"
        assert ["set_property", enabled, "true", run] in commands
    assert of(commands, "open_run") == [["open_run", runs[1]]]
    tried = (folder / "reports" / "strategies.txt").read_text()
    assert tried == f"{first} -0.3\n{second} 0.02\n"

    slacks = f"impl_1 -0.3 impl_{second} -0.1 impl_{third} -0.2 impl_{fourth} -0.4"
    code, output, commands = vivado(folder, setup=-0.1, slacks=slacks)
    assert (code, "timing not met" in output) == (1, True)
    assert len(of(commands, "copy_run")) == 3
    assert of(commands, "open_run") == [["open_run", runs[1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setup": -0.1}, "timing not met"),
        ({"progress": "37%"}, "nbqnn: error: run synth_1 ended with place_design ERROR"),
        ({"board_parts": ""}, "nbqnn: error: Vivado has no board files for zcu102"),
    ],
)
def test_project_that_fails(vivado, build, options, message):
    path = build()
    write_vivado(path, BOARD)
    code, output, _ = vivado(path / "vivado-zcu102", **options)
    assert code == 1
    assert message in output


def test_wrapper_names_every_port(tmp_path):
    """Of a real accelerator: each port has its place in a bus, and Verilator reads it all."""
    config = load_config(preset="tiny")
    text = accelerator_verilog(config)
    path = empty_build(tmp_path / "build", text, axi_data_width=32, axi_address_width=32)
    write_vivado(path, BOARD)
    wrapper = (path / "vivado-zcu102" / "rtl" / "nbqnn_axi.v").read_text()
    ports = re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(\w+),?$", wrapper, re.MULTILINE)
    infos = re.findall(r'X_INTERFACE_INFO = "(\S+) (\w+) (\w+)"', wrapper)
    assert len(ports) == len(infos)
    for port, (kind, bus, signal) in zip(ports, infos, strict=True):
        if port in ("aclk", "aresetn", "irq"):
            assert bus == port
            assert kind.startswith("xilinx.com:signal:")
        else:
            assert kind == "xilinx.com:interface:aximm:1.0"
            assert port == f"{bus}_{signal.lower()}"
    # One set of parameters for each bus and each signal of its own.
    named = re.findall(r"XIL_INTERFACENAME (\w+)", wrapper)
    assert sorted(named) == ["aclk", "aresetn", "irq", "m_axi", "s_axi"]
    assert "ASSOCIATED_BUSIF s_axi:m_axi, ASSOCIATED_RESET aresetn" in wrapper
    assert "FREQ_HZ" not in wrapper
    inner = re.search(r"^module nbqnn\((.*?)\);", text, re.MULTILINE | re.DOTALL)[1]
    assert {name.strip() for name in inner.split(",")} == set(re.findall(r"\.(\w+)\(", wrapper))
    assert lint(text + wrapper, "nbqnn_axi", tmp_path) == ""


# The accelerator alone --------------------------------------------------------------------------


def test_quick_commands(vivado, build):
    path = build(clock_mhz=200)
    files = write_vivado(path, BOARD, quick=True)
    folder = path / "vivado-zcu102-quick"
    assert files[-1] == folder / "build.tcl"
    # 200 MHz is 5 ns.
    constraint = "create_clock -name clk -period 5.000 [get_ports clk]\n"
    assert (folder / "quick.xdc").read_text() == constraint
    (folder / "activity.saif").write_text("(SAIFILE)")
    code, output, commands = vivado(folder)
    assert code == 0, output
    flow = ["create_project", "read_verilog", "read_xdc", "synth_design", "opt_design"]
    flow += ["place_design", "phys_opt_design", "route_design", "phys_opt_design"]
    assert [c[0] for c in of(commands, *flow)] == flow
    assert ["synth_design", "-top", "nbqnn", "-part", PART, "-mode", "out_of_context"] in commands
    for stage in ("synth", "route"):
        report = f"{folder}/reports/{stage}_timing.rpt"
        assert ["report_timing_summary", "-file", report] in commands
    assert ["read_saif", "-strip_path", "nbqnn", f"{folder}/activity.saif"] in commands
    summary = (folder / "reports" / "summary.txt").read_text()
    assert summary == "clock_mhz 200\nsetup_slack_ns 0.3\nhold_slack_ns 0.021\ntiming met\n"
    code, output, _ = vivado(folder, setup=-0.1)
    assert code == 1
    assert "timing not met" in output


def test_sweep_commands(vivado, build):
    """One synthesis for the fastest clock; then clock by clock until one is not met."""
    path = build()
    write_vivado(path, BOARD, quick=True)
    folder = path / "vivado-zcu102-quick"
    # 350 MHz are 2.857 ns.
    constraint = "create_clock -name clk -period 2.857 [get_ports clk]\n"
    assert (folder / "sweep.xdc").read_text() == constraint
    code, output, commands = vivado(folder, setup=0.1, script="sweep.tcl")
    assert code == 0, output
    assert len(of(commands, "synth_design")) == 1
    assert len(of(commands, "place_design")) == len(of(commands, "open_checkpoint")) == 7
    periods = [c[c.index("-period") + 1] for c in of(commands, "create_clock")]
    assert periods == ["5.000", "4.444", "4.000", "3.636", "3.333", "3.077", "2.857"]
    lines = (folder / "reports" / "sweep.txt").read_text().splitlines()
    # 300 MHz with 0.1 ns to spare: 3.233 ns.
    assert lines[4] == "300 0.1 309.3"
    _, output, commands = vivado(folder, setup=-0.1, script="sweep.tcl")
    assert len(of(commands, "place_design")) == 1
    assert (folder / "reports" / "sweep.txt").read_text() == "200 -0.1 196.1\n"


# What is refused --------------------------------------------------------------------------------


def test_a_board_that_vivado_does_not_know_is_refused(build):
    path = build()
    with pytest.raises(NbqnnError, match=r"^board for Vivado must be one of .*, not 'ulx3s'$"):
        write_vivado(path, find_board("ulx3s"))
    assert not (path / "vivado-ulx3s").exists()


def test_tops_that_are_no_accelerator_are_refused(tmp_path):
    path = empty_build(tmp_path / "build", "module nbqnn(clk);\n  input clk;\nendmodule\n")
    with pytest.raises(NbqnnError, match=r"^module nbqnn must have the ports .* but has clk$"):
        write_vivado(path, BOARD)
    five = tuple(f"m_axi{port}" for port in range(5))
    path = empty_build(tmp_path / "other", top_verilog(five))
    with pytest.raises(NbqnnError, match=r"zcu102 has 4 ports to its memory, the accelerator want"):
        write_vivado(path, BOARD)


def test_without_vivado_nothing_runs(build, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = build()
    write_vivado(path, BOARD)
    assert run_vivado(path, BOARD) is None
