"""generate, compile, simulate and synth: input that they refuse, and what is quick to write."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import load_config
from hw.boards.registry import find_board
from hw.contract.program import load_program
from hw.synth.area import Area
from hw.synth.power import power_fields
from hw.synth.results import synth_result
from hw.synth.timing import TimingEstimate, TimingPath
from nbqnn_train.graph import Graph, Input, MaxPool2d, run, save
from sim.results import FirstDifference, LayerResult, SimulationResult
from tests.cli.networks import small_graph
from tests.hw.synth.reports import HIERARCHY, MET, MISSED, POWER, UTILIZATION, header
from tests.hw.synth.tops import top_verilog


@pytest.fixture
def build(tmp_path):
    """As far as a command that must not come to use it needs it: a build folder without logic."""
    folder = tmp_path / "build"
    (folder / "rtl").mkdir(parents=True)
    (folder / "hw.json").write_text(load_config(preset="tiny").to_json())
    (folder / "rtl" / "nbqnn.v").write_text(top_verilog(("m_axi",), 32, 32))
    return folder


@pytest.fixture
def graph(tmp_path):
    """The file of a graph that compiles."""
    save(small_graph(), tmp_path / "graph")
    return tmp_path / "graph"


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("preset must be one of tiny, .*, not 'huge'", ["--preset", "huge"]),
        (r"configuration gone\.toml cannot be read: No such file.*", ["--config", "gone.toml"]),
        (
            "a configuration needs either a preset or a file: give --preset NAME or --config FILE",
            [],
        ),
        (
            "a configuration needs either a preset or a file: give --preset NAME or --config FILE",
            ["--preset", "tiny", "--config", "gone.toml"],
        ),
    ],
)
def test_generate_refuses(refused, pattern, arguments):
    refused(pattern, "generate", *arguments, "-o", "build")


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        (r"hw\.toml: lanes must be 2\.\.\.256, not 1024", {"lanes": 1024}),
        (r"hw\.toml: lanes must be a power of two, not 12", {"lanes": 12}),
        (r"hw\.toml: pe must be one of shift, multiply, not divide", {"pe": "divide"}),
        (r"hw\.toml: acc_bits must hold one product of 10 bits, not 8", {"acc_bits": 8}),
        (r"hw\.toml: unknown field 'lanez'; known are .*", {"lanez": 8}),
        (r"hw\.toml: act_bits must be of type int, not '8'", {"act_bits": "8"}),
    ],
)
def test_generate_refuses_a_configuration_that_does_not_fit(refused, tmp_path, pattern, change):
    values = {"name": "mine", "lanes": 8, "filters": 8, "pixels": 1, "post_lanes": 4} | change
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (tmp_path / "hw.toml").write_text("".join(lines))
    refused(pattern, "generate", "--config", "hw.toml", "-o", "build")


@pytest.mark.parametrize("option", ["--preset", "--config", "--testbench", "--input"])
def test_options_of_accelerators_are_not_ignored(refused, option):
    message = "--spatial takes no --preset, --config, --testbench or --input"
    arguments = ["--spatial", "lenet5-mnist-3bit", option, "x", "-o", "build"]
    refused(message, "generate", *arguments)


@pytest.mark.parametrize("option", [["--ii", "2"], ["--board", "kv260"]])
def test_options_of_circuits_are_not_ignored(refused, option):
    message = "--ii and --board are of circuits; they need --spatial GRAPH"
    refused(message, "generate", "--preset", "tiny", "-o", "build", *option)


def test_a_clock_in_place_of_the_configurations(nbqnn, tmp_path):
    """For the same programs; the Verilog is the same, too."""
    command = "generate", "--preset", "tiny", "-o", "build"
    texts = []
    for clock in ([], ["--clock-mhz", "137"]):
        assert nbqnn(*command, *clock).code == 0
        texts.append((tmp_path / "build" / "rtl" / "nbqnn.v").read_text())
    assert texts[0] == texts[1]
    config = load_config(path=tmp_path / "build" / "hw.json")
    assert config == replace(load_config(preset="tiny"), clock_mhz=137)
    assert config.digest == load_config(preset="tiny").digest


@pytest.mark.parametrize("name", ["mine.json", "MINE.JSON"])
def test_a_builds_configuration_under_another_name(nbqnn, build, tmp_path, name):
    """What it says about the build is ignored."""
    described = json.loads((build / "hw.json").read_text()) | {"build": {"rtl": "0" * 64}}
    (tmp_path / name).write_text(json.dumps(described))
    assert load_config(path=tmp_path / name) == load_config(preset="tiny")


def test_a_circuit_is_no_accelerator(refused, build, graph):
    described = {"kind": "spatial", "name": "net"}
    (build / "hw.json").write_text(json.dumps(described))
    message = r"build/hw\.json must describe an accelerator, not 'spatial'; a circuit .*"
    refused(message, "compile", graph, "--hw", "build", "-o", "program")


@pytest.mark.parametrize("tool", ["yosys", "nextpnr"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--quick"], "--quick"),
        (["--read"], "--read"),
        (["--activity", "run.saif", "--quick"], "--quick, --activity"),
    ],
)
def test_options_of_vivado_are_not_ignored(refused, build, tool, options, named):
    message = f"--tool {tool} does not take {named}: only vivado does"
    refused(message, "synth", "build", "--tool", tool, *options)


def test_generate_refuses_a_file_that_is_no_toml(refused, tmp_path):
    (tmp_path / "hw.toml").write_text("lanes: 8")
    refused(r"configuration hw\.toml is not TOML: .*", "generate", "--config", "hw.toml", "-o", "b")


def test_synth_refuses_an_unknown_board(refused, build):
    refused(
        "board must be one of kv260, pynq-z2, ultra96, ulx3s, zcu102, zcu104, not 'zcu999'",
        *["synth", build, "--tool", "yosys", "--board", "zcu999"],
    )


@pytest.mark.parametrize(
    ("tool", "board", "able"),
    [
        ("vivado", "ulx3s", "kv260, pynq-z2, ultra96, zcu102, zcu104"),
        ("nextpnr", "zcu102", "ulx3s"),
    ],
)
def test_synth_refuses_a_board_of_another_tool(refused, build, tool, board, able):
    name = {"vivado": "Vivado"}.get(tool, tool)
    refused(
        f"board for {name} must be one of {able}, not '{board}'",
        *["synth", build, "--tool", tool, "--board", board],
    )


@pytest.mark.parametrize("tool", ["yosys", "vivado"])
def test_synth_refuses_what_is_no_build(refused, tmp_path, tool):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        refused(
            rf"build '{folder}' must be a folder that generate wrote: no hw\.json",
            *["synth", folder, "--tool", tool, "--json", "area.json"],
        )


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_synth_vivado_says_what_to_run_elsewhere(nbqnn, build, tmp_path, monkeypatch, quick):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    outcome = nbqnn("synth", build, "--tool", "vivado", *quick, "--json", "written.json")
    assert outcome.code == 0, outcome
    folder = build / f"vivado-zcu102{'-quick' if quick else ''}"
    last = outcome.out.splitlines()[-1]
    assert last.endswith(f"cd {folder} && vivado -mode batch -source build.tcl")
    written = json.loads((tmp_path / "written.json").read_text())["files"]
    assert sorted(written) == sorted(map(str, (p for p in folder.rglob("*") if p.is_file())))
    assert all(f"wrote {file}" in outcome.out for file in written)


def test_compile_refuses_what_is_no_graph(refused, build, tmp_path):
    (tmp_path / "text").write_text("not a graph")
    (tmp_path / "program").write_bytes(b"precious")
    for name, message in (
        ("text", "Graph file 'text'.*"),
        ("gone", "Network must be a file or folder, or one of .*, not 'gone'"),
    ):
        refused(message, "compile", name, "--hw", build, "-o", "program")


def test_compile_refuses_a_memory_that_is_none(refused, build, graph):
    options = ["--hw", build, "-o", "program", "--memory", "zcu999"]
    refused(
        "memory must be one of kv260, pynq-z2, ultra96, zcu102, zcu104, not 'zcu999'",
        "compile",
        graph,
        *options,
    )


def test_compile_refuses_what_is_no_build(refused, graph):
    refused("build 'gone' must be .*", "compile", graph, "--hw", "gone", "-o", "program")


@pytest.fixture
def images(tmp_path):
    """Writes ``x.npy`` from an array."""
    return lambda array: np.save(tmp_path / "x.npy", array)


@pytest.mark.parametrize(
    ("pattern", "array"),
    [
        (
            r"images 'x\.npy' must be float32 \(N, C, H, W\), .*, not float64 \(2, 1, 8, 8\); .*",
            np.zeros((2, 1, 8, 8)),
        ),
        (
            r"images 'x\.npy' must be float32 \(N, C, H, W\), .*, not float32 \(64,\)",
            np.zeros(64, dtype=np.float32),
        ),
        (
            r"images 'x\.npy' must be finite numbers, not NaN or infinite",
            np.full((1, 1, 8, 8), np.nan, dtype=np.float32),
        ),
    ],
)
def test_simulate_refuses_wrong_images(refused, images, pattern, array):
    images(array)
    refused(pattern, "simulate", "program", "--input", "x.npy")


@pytest.mark.parametrize("size", [0, 20, 200])
def test_simulate_refuses_a_truncated_array(refused, images, tmp_path, size):
    images(np.zeros((2, 1, 8, 8), dtype=np.float32))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:size])
    refused(
        r"images 'x\.npy' must be a complete \.npy file of numbers",
        *["simulate", "program", "--input", "x.npy"],
    )


def test_simulate_never_unpickles(refused, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    refused(
        r"images 'x\.npy' must be a complete \.npy file of numbers",
        *["simulate", "program", "--input", "x.npy"],
    )


def test_simulate_refuses_missing_images(refused):
    refused(
        r"images 'gone\.npy' cannot be read: No such file or directory",
        *["simulate", "program", "--input", "gone.npy"],
    )


@pytest.fixture
def program(nbqnn, build, graph, tmp_path):
    """The file of a program that fits the images of shape (1, 8, 8)."""
    outcome = nbqnn("compile", graph, "--hw", build, "-o", "program")
    assert outcome.code == 0, outcome
    return tmp_path / "program"


def test_a_program_that_ends_in_arg_max(nbqnn, refused, build, graph, tmp_path):
    assert nbqnn("compile", graph, "--hw", build, "-o", "program", "--arg-max").code == 0
    found = load_program(tmp_path / "program")
    assert found.graph.outputs == ("logits.argmax",)
    x = np.random.default_rng(1).normal(0, 2, (4, 1, 8, 8)).astype(np.float32)
    assert np.array_equal(run(found.graph, x)[:, 0], run(small_graph(), x).argmax(axis=1))
    np.save(tmp_path / "x.npy", x)
    refused(r".*only the number of the largest; remedy: .*--arg-max", "predict", "program", "x.npy")


def test_compile_refuses_a_graph_that_does_not_fit(refused, build, tmp_path):
    """Which number does not fit, and which limit it is held against, is in the line."""
    # Two rows of input and one of output are more words than there are.
    image = Input(name="image", shape=(8, 4, 1024), bits=8, signed=True, exponent=0)
    pool = MaxPool2d(name="pool", input="image", kernel=(2, 2), stride=(2, 2))
    save(Graph(nodes=(image, pool), outputs=("pool",)), tmp_path / "big")
    (tmp_path / "program").write_bytes(b"precious")
    refused(r".*act_depth.*\d+.*", "compile", "big", "--hw", build, "-o", "program")


def test_simulate_refuses_images_of_another_shape(refused, program, images):
    images(np.zeros((2, 3, 9, 9), dtype=np.float32))
    refused(
        r"Images must have shape \(N, 1, 8, 8\), not \(2, 3, 9, 9\)",
        *["simulate", program, "--input", "x.npy", "--json", "result.json"],
    )


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        ("not a zip file", lambda data: b""),
        ("not a zip file", lambda data: b"not a program"),
        ("truncated", lambda data: data[: len(data) // 2]),
        ("Bad CRC-32", lambda data: data.replace(b'"lanes": 8', b'"lanes": 9')),
    ],
    ids=["empty", "text", "truncated", "changed"],
)
def test_simulate_refuses_what_is_no_program(refused, program, images, pattern, change):
    images(np.zeros((2, 1, 8, 8), dtype=np.float32))
    program.write_bytes(change(program.read_bytes()))
    refused(
        f".*program is not a program.*{pattern}.*",
        *["simulate", program, "--input", "x.npy", "--json", "result.json"],
    )


def test_simulate_refuses_a_program_of_another_version(refused, program, images):
    images(np.zeros((2, 1, 8, 8), dtype=np.float32))
    with zipfile.ZipFile(program) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    described = json.loads(entries["program.json"]) | {"version": 99}
    with zipfile.ZipFile(program, "w") as archive:
        for name, content in (entries | {"program.json": json.dumps(described)}).items():
            archive.writestr(name, content)
    refused(
        r"program .*program must be of version \d+, not 99; remedy: compile its graph again",
        *["simulate", program, "--input", "x.npy"],
    )


def test_simulate_refuses_a_missing_program(refused, images):
    images(np.zeros((2, 1, 8, 8), dtype=np.float32))
    refused(".*'?gone'? .*No such file.*", "simulate", "gone", "--input", "x.npy")


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        (
            "memory must be one of kv260, pynq-z2, ultra96, zcu102, zcu104, not 'zcu999'",
            ["--memory", "zcu999"],
        ),
        ("cycles must be A:B, two numbers, not '5'", ["--vcd", "a.vcd", "--cycles", "5"]),
        ("cycles must be A:B with 0 <= A < B, not 9:9", ["--vcd", "a.vcd", "--cycles", "9:9"]),
        ("file 'gone/a' must be in a folder that exists", ["--saif", "gone/a"]),
        ("layer must be one of conv, pool, linear, not 'x'", ["--saif", "a", "--layer", "x"]),
        ("a layer or cycles need a file: --fst, --vcd or --saif", ["--layer", "conv"]),
        (
            "files of signals need the accelerator itself, not a netlist",
            ["--vcd", "a", "--netlist", "netlist.v"],
        ),
    ],
)
def test_simulate_refuses_options(refused, program, images, pattern, arguments):
    images(np.zeros((1, 1, 8, 8), dtype=np.float32))
    refused(pattern, "simulate", program, "--input", "x.npy", *arguments)


def test_simulate_reports_the_first_difference_with_code_1(nbqnn, images, monkeypatch):
    images(np.zeros((2, 1, 8, 8), dtype=np.float32))
    first = FirstDifference(
        image=1, layer="conv", channel=0, position=(3, 4), cycles=(10, 20), expected=5, actual=-6
    )
    result = SimulationResult(
        images=2,
        batch=1,
        mismatches=1,
        first_mismatch=first,
        cycles_per_image=10.0,
        stalls={"load": 3.0, "store": 0.0},
        clock_mhz=250,
        macs_per_cycle=8,
        utilization=0.5,
        layers=(LayerResult(name="conv", cycles=10.0, macs=40, utilization=0.5),),
    )
    monkeypatch.setattr("scripts.simulation.simulate", lambda *_, **__: result)
    outcome = nbqnn("simulate", "program", "--input", "x.npy", "--json", "result.json")
    assert outcome.code == 1
    assert (
        "image 1, layer conv, channel 0, position (3, 4): -6, not 5; cycles 10...20 of the run"
        in outcome.out
    )
    assert "the array stands still for 3 cycles: load 3, store 0\n" in outcome.out


def test_generated_accelerator_computes_what_the_interpreter_does(nbqnn, graph, images, tmp_path):
    """generate, compile, simulate by their command lines: the JSON has what scripts rely on."""
    assert nbqnn("generate", "--preset", "tiny", "-o", "generated").code == 0
    compiled = nbqnn("compile", graph, "--hw", "generated", "-o", "program", "--json", "plan.json")
    assert compiled.code == 0, compiled
    images(np.random.default_rng(1).normal(0, 2, (3, 1, 8, 8)).astype(np.float32))
    traced = ["--vcd", "linear.vcd", "--layer", "linear"]
    options = ["--input", "x.npy", "--json", "result.json", *traced]
    outcome = nbqnn("simulate", "program", *options)
    assert outcome.code == 0, outcome
    # At 250 MHz a cycle is two steps of 2 ns; some cycles more than the layer's own are written.
    text = (tmp_path / "linear.vcd").read_text()
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    linear = json.loads((tmp_path / "result.json").read_text())["layers"][-1]
    assert set(np.diff(times)) == {2000}
    assert linear["cycles"] < len(times) / 2 <= linear["cycles"] + 100
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["images"], result["mismatches"]) == (3, 0)
    assert result["cycles_per_image"] > 0
    macs = {layer["name"]: layer["macs"] for layer in result["layers"]}
    assert macs["conv"] == 4 * 9 * 64
    assert all(layer["cycles"] > 0 and 0 <= layer["utilization"] <= 1 for layer in result["layers"])
    assert result["estimated_cycles"] == pytest.approx(result["cycles_per_image"], rel=0.3)
    estimates = [layer["estimated_cycles"] for layer in result["layers"]]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["cycles_per_image"] == result["estimated_cycles"]
    assert f"{plan['cycles_per_image']:,.0f} cycles per image by the cycle model" in compiled.out
    for layer, planned in zip(result["layers"], plan["layers"], strict=True):
        for field, value in {
            "cycles": "estimated_cycles",
            "macs": "macs",
            "bytes": "bytes",
        }.items():
            assert planned[field] == layer[value]
    spent = sum(layer["array"] + layer["stall"] for layer in plan["layers"])
    assert spent == pytest.approx(plan["cycles_per_image"], abs=2 * len(plan["layers"]))
    # Only some cycles of the layer, from its beginning on.
    window = ["--vcd", "part.vcd", "--layer", "linear", "--cycles", "10:30"]
    assert nbqnn("simulate", "program", "--input", "x.npy", *window).code == 0
    lines = (tmp_path / "part.vcd").read_text().splitlines()
    assert sum(line.startswith("#") for line in lines) == 2 * 20
    # Two images in a run, and one that is left.
    compiled = nbqnn("compile", graph, "--hw", "generated", "-o", "pair", "--batch", "2")
    assert compiled.code == 0, compiled
    assert nbqnn("simulate", "pair", "--input", "x.npy", "--json", "pair.json").code == 0
    pair = json.loads((tmp_path / "pair.json").read_text())
    assert (pair["images"], pair["mismatches"], pair["batch"]) == (3, 0, 2)
    assert [layer["name"] for layer in pair["layers"]] == list(macs)
    assert list(result["stalls"]) == list(result["estimated_stalls"])
    assert 0 < sum(result["stalls"].values()) < result["cycles_per_image"]
    assert 0.9 * result["estimated_cycles"] < sum(estimates) <= result["estimated_cycles"]


def test_synth_vivado_reads_what_came_back(nbqnn, refused, build, tmp_path):
    """Exit code 1 is a clock that is not met, 2 a report that is none."""
    reports = build / "vivado-zcu102" / "reports"
    reports.mkdir(parents=True)
    texts = {
        "utilization": header("report_utilization") + UTILIZATION,
        "hierarchy": header("report_utilization -hierarchical") + HIERARCHY,
        "timing": header("report_timing_summary") + MISSED,
        "power": header("report_power") + POWER,
    }
    for name, text in texts.items():
        (reports / f"route_{name}.rpt").write_text(text)
    arguments = ["synth", build, "--tool", "vivado", "--read", "--json", "area.json"]
    outcome = nbqnn(*arguments)
    assert outcome.code == 1, outcome
    assert "200.0 MHz of 250 MHz asked for: not met" in outcome.out
    result = json.loads((tmp_path / "area.json").read_text())
    assert (result["lut"], result["tool"], result["met"]) == (21439, "vivado", False)
    (reports / "route_timing.rpt").write_text(header("report_timing_summary") + MET)
    assert nbqnn(*arguments).code == 0
    text = texts["utilization"]
    (reports / "route_utilization.rpt").write_text(text[: len(text) // 2])
    refused(r"report \S+route_utilization\.rpt must be complete, but lacks .*", *arguments)


def test_synth_of_what_does_not_fit(nbqnn, build, tmp_path, monkeypatch):
    """The estimate is shown and written; one line says what the board lacks, and how much."""
    area = Area(lut=300_000, ff=5, bram36=912.5, dsp=0)
    result = synth_result("yosys", "Yosys 0", find_board("zcu102"), area, area, 64)
    monkeypatch.setattr("hw.synth.synth_yosys", lambda *arguments: result)
    outcome = nbqnn("synth", build, "--tool", "yosys", "--json", "area.json")
    assert outcome.code == 2
    assert outcome.err == (
        "nbqnn: error: the accelerator does not fit zcu102: it needs 300,000 LUTs, the board has "
        "274,080; 912.5 BRAM36, the board has 912\n"
    )
    assert json.loads((tmp_path / "area.json").read_text()) == result.to_json()


def test_synth_prints_estimates_and_warns_of_a_clock_above_them(nbqnn, build, monkeypatch):
    area = Area(lut=100_000, ff=5, bram36=2.5, dsp=0)
    path = TimingPath(
        component="core", start="a", end="b/D", period_ns=5.0, logic_ns=1.0, levels=4, fanout=9,
        net="a",
    )  # fmt: skip
    timing = TimingEstimate(
        period_ns=5.0, low_ns=4.0, high_ns=6.25, paths=(path,), components={"core": 1}
    )
    board = find_board("zcu102")
    for clock, warns in ((250, True), (150, False)):
        result = synth_result(
            *("yosys", "Yosys 0", board, area, area, 64),
            clock_mhz=clock,
            estimated_mhz=timing.mhz,
            estimated_low_mhz=timing.low_mhz,
            estimated_high_mhz=timing.high_mhz,
            estimated_timing=timing,
            **power_fields(area, clock, board),
        )
        monkeypatch.setattr("hw.synth.synth_yosys", lambda *arguments, result=result: result)
        outcome = nbqnn("synth", build, "--tool", "yosys")
        assert outcome.code == 0
        assert "5.00 ns (4.00 to 6.25), 200 MHz (160 to 250)" in " ".join(outcome.out.split())
        assert "b/D" in outcome.out
        assert f"estimated from counts, at {clock} MHz" in " ".join(outcome.out.split())
        line = (
            "warning: the clock of 250 MHz must be at most the estimated 200 MHz (160 to 250); "
            "lower clock_mhz or see the slowest paths"
        )
        assert (line in outcome.out) is warns


def test_simulate_refuses_netlists_that_are_none(refused, program, images, tmp_path):
    images(np.zeros((1, 1, 8, 8), dtype=np.float32))
    (tmp_path / "other.v").write_text("module other(clk);\nendmodule\n")
    arguments = ["simulate", program, "--input", "x.npy", "--netlist"]
    refused(r"netlist 'other\.v' must hold module nbqnn_ulx3s, but does not", *arguments, "other.v")
    refused(r"netlist 'gone\.v' cannot be read: No such file or directory", *arguments, "gone.v")
