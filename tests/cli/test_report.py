"""report: what it finds, what it shows of it, and that the page needs nothing else."""

import base64
import json
import re

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.spatial.build import generate_spatial
from nbqnn_train.graph import save
from nbqnn_train.learn.results import LayerCourse, TrainingCourse, packed_shares
from sim.results import CircuitSimulationResult
from tests.cli.networks import small_graph
from tests.hw.spatial.test_network import dense_graph

SYNTH = {
    "kind": "synth",
    "tool": "yosys",
    "tool_version": "Yosys 0.70",
    "board": "zcu102",
    "part": "xczu9eg",
    "lut": 1000,
    "ff": 2000,
    "bram36": 3.5,
    "dsp": 0,
    "share": {"lut": 0.4, "ff": 0.4, "bram36": 0.4, "dsp": 0},
    "array": {"lut": 600, "ff": 900, "bram36": 0, "dsp": 0, "lanes": 64},
    "modules": {
        "nbqnn": {"instances": 1, "lut": 1000, "ff": 0, "bram36": 0, "dsp": 0},
        "nbqnn_pe_array_x": {"instances": 1, "lut": 600, "ff": 0, "bram36": 0, "dsp": 0},
        "nbqnn_svpe_x": {"instances": 8, "lut": 70, "ff": 0, "bram36": 0, "dsp": 0},
        "nbqnn_requantizer_x": {"instances": 4, "lut": 50, "ff": 0, "bram36": 0, "dsp": 0},
    },
}
SIMULATE = {
    "kind": "simulate",
    "images": 3,
    "batch": 1,
    "mismatches": 0,
    "first_mismatch": None,
    "stalls": {"load": 300.0},
    "cycles_per_image": 1500.0,
    "estimated_cycles": 1490,
    "utilization": 0.4,
    "clock_mhz": 250,
    "macs_per_cycle": 64,
    "bytes_per_cycle": 4,
    "layers": [
        {"name": "first_layer", "cycles": 1000.0, "macs": 38400, "utilization": 0.6,
         "bytes": 3000, "moved": 9000, "estimated_cycles": 990},
        {"name": "pool", "cycles": 500.0, "macs": 0, "utilization": 0.0,
         "bytes": 100, "estimated_cycles": 500},
    ],
}  # fmt: skip
COMPILE = {
    "kind": "compile",
    "stalls": {"load": 300.0},
    "batch": 1,
    "cycles_per_image": 1500.0,
    "images_per_second": 166666.7,
    "utilization": 0.4,
    "clock_mhz": 250,
    "macs_per_cycle": 64,
    "bytes_per_cycle": 4,
    "read_bytes": 3200,
    "written_bytes": 50,
    "layers": [
        {"name": "planned", "cycles": 1000, "array": 700, "stall": 300, "load": 200, "store": 100,
         "macs": 38400, "bytes": 3000, "utilization": 0.6, "moved": 3500,
         "windows": {"load": [0, 200], "compute": [210, 1000], "store": [1000, 1100]}},
    ],
}  # fmt: skip
CANDIDATE = {
    "config": json.loads(PRESETS["tiny"].to_json()),
    "cycles": 1000,
    "latency_ms": 0.004,
    "images_per_second": 250000.0,
    "gops": 10.0,
    "utilization": 0.5,
    "lut": 5000,
    "ff": 4000,
    "bram36": 10,
    "dsp": 0,
    "pareto": True,
}
EXPLORE = {
    "kind": "explore",
    "graph": "network.graph",
    "board": "zcu102",
    "budget": {"lut": 100, "ff": 200, "bram36": 30, "dsp": 4},
    "compiled": 2,
    "considered": 9,
    "complete": True,
    "best": "tiny",
    "candidates": [CANDIDATE, CANDIDATE | {"pareto": False}],
}
COURSE = TrainingCourse(
    epochs=(1, 2),
    blends=(0.0, 1.0),
    layers=(
        LayerCourse(
            name="conv",
            bits=3,
            positions=(-1.0, 0.0, 1.0),
            histograms=packed_shares([[1, 2, 1], [2, 0, 2]]),
            weight_error=0.01,
        ),
    ),
    errors={"conv": 0.1},
    images=7,
).to_json()
METRICS = "epoch,step,loss,accuracy\n0,10,2.5,\n0,20,1.5,\n0,20,,0.75\n"
RESULTS = {
    "area.json": SYNTH,
    "compiled.json": COMPILE,
    "simulated.json": SIMULATE,
    "search.json": EXPLORE,
    "run/course.json": COURSE,
    "accuracy.json": {"kind": "evaluate", "accuracy": 0.875, "images": 80},
}


def pictures(page: str) -> list[list[dict]]:
    """The traces of each picture on a page, as the browser reads them."""
    found = []
    for start in re.finditer(r'Plotly\.newPlot\(\s*"picture\d+",\s*', page):
        traces, _ = json.JSONDecoder().raw_decode(page, start.end())
        found.append(traces)
    return found


@pytest.fixture
def folder(tmp_path):
    """A bit of everything, and files that are nothing."""
    results = tmp_path / "results"
    (results / "run" / "csv" / "version_0").mkdir(parents=True)
    (results / "run" / "csv" / "version_0" / "metrics.csv").write_text(METRICS)
    for name, content in RESULTS.items():
        (results / name).write_text(json.dumps(content))
    (results / "build").mkdir()
    (results / "build" / "hw.json").write_text(PRESETS["tiny"].to_json())
    save(small_graph(), results / "network.graph")
    (results / "half.json").write_text('{"lut": ')
    (results / "other.json").write_text('{"accuracy": 0.5, "images": 5}')
    (results / "half.graph").write_bytes((results / "network.graph").read_bytes()[:100])
    (results / "notes.txt").write_text("nothing")
    return results


def test_names_that_are_no_text(nbqnn, folder, tmp_path):
    """As files of other systems may have: the page is text all the same."""
    (folder / "build").rename(folder / "b\udcfft")
    assert nbqnn("report", folder, "-o", "report.html").code == 0
    assert "b?t/hw.json" in (tmp_path / "report.html").read_text()


def test_everything_is_found_and_shown(nbqnn, folder, tmp_path):
    outcome = nbqnn("report", folder, "-o", "report.html")
    assert outcome.code == 0, outcome
    assert outcome.out.splitlines() == [
        "evaluate: accuracy.json",
        "graph: network.graph",
        "run: run/csv/version_0/metrics.csv",
        "course: run/course.json",
        "simulate: simulated.json",
        "compile: compiled.json",
        "synth: area.json",
        "build: build/hw.json",
        "explore: search.json",
        "report in report.html",
    ]
    page = (tmp_path / "report.html").read_text()
    for shown in (
        "87.50%",
        "first_layer",
        "166,666.7 images a second",
        "tiny",
        "Roofline",
        "planned",
    ):
        assert shown in page
    # The array's own parts are not counted twice: 600 and 4 · 50 of 1,000 LUTs.
    assert re.search(r'"values":\[600,200,200\]', page)


def test_circuits_are_shown(nbqnn, folder, tmp_path):
    generate_spatial(dense_graph(), folder / "circuit", 400)
    simulated = CircuitSimulationResult(
        images=7,
        mismatches=0,
        first_mismatch=None,
        latency=9,
        cycles_per_image=1.0,
        clock_mhz=400,
        estimated_mhz=452.5,
    )
    simulated.write(folder / "circuit.json")
    outcome = nbqnn("report", folder, "-o", "report.html")
    assert "circuit: circuit/hw.json" in outcome.out.splitlines()
    assert "simulate-circuit: circuit.json" in outcome.out.splitlines()
    page = (tmp_path / "report.html").read_text()
    assert "400,000,000 images a second at 400 MHz" in page
    assert "input_positions" in page


def test_the_page_needs_nothing_else(nbqnn, folder, tmp_path):
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    head, body = page.split("</head>")
    assert len(body) < 1 << 20 < len(head)
    assert len(page.encode()) < 2_000_000
    # Weights, learning curves, weights in training, errors of layers, area, cycles and roofline
    # twice, the schedule, two of the search.
    assert body.count("Plotly.newPlot(") == 12
    assert not re.search(r'<(script|link|img)[^>]* (src|href)="(?!data:)', body)


def test_same_folder_same_page(nbqnn, folder, tmp_path):
    pages = set()
    for name in ("a.html", "b.html"):
        nbqnn("report", folder, "-o", name)
        pages.add((tmp_path / name).read_text())
    assert len(pages) == 1


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_what_lacks_fields_is_named_and_skipped(nbqnn, folder, name):
    """A result of another version, as it may be: every field that is a table or a list is empty."""
    content = {
        key: type(value)() if isinstance(value, (dict, list)) else value
        for key, value in RESULTS[name].items()
    }
    (folder / name).write_text(json.dumps(content | {"nodes": 1, "accuracy": "much"}))
    outcome = nbqnn("report", folder, "-o", "report.html")
    assert outcome.code == 0, outcome
    assert name in outcome.out


def test_areas_that_lack_a_resource_are_skipped(nbqnn, folder, tmp_path):
    """The top of the page shows them, too."""
    (folder / "area.json").write_text(json.dumps(SYNTH | {"share": {"ff": 0.4}}))
    outcome = nbqnn("report", folder, "-o", "report.html")
    assert outcome.code == 0, outcome
    assert "skipped: area.json" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("present", ["nothing", "other.json", "half.graph", "notes.txt"])
def test_an_empty_folder_is_refused(refused, folder, tmp_path, present):
    empty = tmp_path / "empty"
    empty.mkdir()
    if present != "nothing":
        (empty / present).write_bytes((folder / present).read_bytes())
    refused(
        "report folder 'empty' must hold a run, a graph, a build or a JSON result, but holds none",
        *["report", "empty", "-o", "report.html"],
    )


def test_a_folder_that_is_none_is_refused(refused):
    refused("report folder must exist, not 'gone'", "report", "gone", "-o", "report.html")


def test_names_are_text(nbqnn, folder, tmp_path):
    hostile = "<script>alert(1)</script>"
    layers = [SIMULATE["layers"][0] | {"name": hostile}]
    (folder / "simulated.json").write_text(json.dumps(SIMULATE | {"layers": layers}))
    nbqnn("report", folder, "-o", "report.html")
    assert hostile not in (tmp_path / "report.html").read_text()


def test_results_of_another_build(nbqnn, refused, folder, tmp_path):
    """Refused by name; the page says which RTL is meant."""
    ours, theirs = ({"rtl": digit * 64, "tools": {}, "commit": "abc"} for digit in "ab")
    described = json.loads((folder / "build" / "hw.json").read_text())
    (folder / "build" / "hw.json").write_text(json.dumps(described | {"build": ours}))
    (folder / "area.json").write_text(json.dumps(SYNTH | {"build": ours}))
    assert nbqnn("report", folder, "-o", "report.html").code == 0
    assert "RTL aaaaaaaaaaaa of commit abc" in (tmp_path / "report.html").read_text()
    (folder / "area.json").write_text(json.dumps(SYNTH | {"build": theirs}))
    refused(
        r"result area\.json is of the RTL b{12} of commit abc, but the builds beside it are "
        r"build/hw\.json \(a{12} of commit abc\); remedy: .*",
        *("report", folder, "-o", "report.html"),
    )


def test_weights_in_training_and_their_codes(nbqnn, folder, tmp_path):
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    (heat,) = (one for picture in pictures(page) for one in picture if one["type"] == "heatmap")
    shares = np.frombuffer(base64.b64decode(heat["z"]["bdata"]), "<u2").reshape(3, 2)
    assert (shares / 65535).round(4).tolist() == [[0.25, 0.5], [0.5, 0], [0.25, 0.5]]
    assert "<td>conv</td><td>3</td><td>40.0</td>" in page  # dB
    # The share of each magnitude among the weights of both layers.
    (bars,) = (picture for picture in pictures(page) if picture[0].get("name") == "0")
    assert [bar["name"] for bar in bars] == ["0", "±1", "±2", "±4"]
    layers = [node.weight for node in small_graph().nodes if hasattr(node, "weight")]
    for bar, level in zip(bars, (0, 1, 2, 4), strict=True):
        wanted = [float(np.mean(abs(weight) == level)) for weight in layers]
        assert bar["x"] == pytest.approx(wanted, abs=1e-4)


def test_accuracy_beside_full_precision(nbqnn, folder, tmp_path):
    """Whatever comes first in the folder, the quantized network counts."""
    twin = {"kind": "train", "accuracy": 0.9, "images": 80, "model": "m", "data": "d", "epochs": 1,
            "seed": 0, "seconds": 1.0, "full_precision": True}  # fmt: skip
    (folder / "a.json").write_text(json.dumps(twin))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<b>87.50%</b><span>of 80 images; 90.00% in full precision</span>" in page
    (folder / "accuracy.json").unlink()
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<b>90.00%</b><span>of 80 images, in full precision</span>" in page
    assert "<h1>Network m, trained on d</h1>" in page
    del twin["full_precision"]
    (folder / "a.json").write_text(json.dumps(twin | {"float_accuracy": 0.925}))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<b>90.00%</b><span>of 80 images; 92.50% in full precision</span>" in page
    rounded = {"kind": "quantize", "images": 64, "nodes": 9, "weight_bytes": 99, "agreement": 0.9,
               "notes": [], "accuracy": 0.8, "float_accuracy": 0.85, "test_images": 70}  # fmt: skip
    (folder / "a.json").write_text(json.dumps(rounded))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<b>80.00%</b><span>of 70 images; 85.00% in full precision</span>" in page
    assert "<td>80.00%</td><td>85.00%</td><td>70</td><td>90.00%</td>" in page
    assert "<span>of a ZCU102</span>" in page
    assert "<span>by Yosys, 1,000 LUT</span>" in page
