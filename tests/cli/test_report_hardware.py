"""report: schedules, areas, timing and power; two folders side by side."""

import json
import re
import shutil
from dataclasses import replace

from hw.boards.presets import PRESETS
from tests.cli.test_report import COMPILE, RESULTS, SIMULATE, SYNTH, folder, pictures

__all__ = ["folder"]

TIMING = {
    "estimated_mhz": 300.0,
    "estimated_timing": {
        "period_ns": 3.333,
        "low_ns": 2.857,
        "high_ns": 4.0,
        "paths": [
            {"component": "nbqnn_drain_x8", "start": "a<b>", "end": "c/d", "period_ns": 3.333,
             "logic_ns": 1.0, "levels": 5, "fanout": 60, "net": "e"},
            {"component": "nbqnn_fetch", "start": "f", "end": "g", "period_ns": 2.5,
             "logic_ns": 0.75, "levels": 4, "fanout": 2, "net": "h"},
        ],
        "components": {"nbqnn_drain_x8": 1000},
    },
    "clock_mhz": 250,
    "estimated_power": {"parts": {"logic": 0.5, "dsp": 0.25}, "static": 0.6, "processors": 2.8},
}  # fmt: skip


def test_timing_paths_and_power(nbqnn, folder, tmp_path):
    (folder / "area.json").write_text(json.dumps(SYNTH | TIMING))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "250 MHz asked for (300 estimated)" in page  # beside the speed
    assert "300 MHz, between 250 and 350; 250 MHz are asked for. Nothing was placed" in page
    (bars,) = (one for one in pictures(page) if one[0].get("name") == "logic")
    assert [bar["x"] for bar in bars] == [[1.0, 0.75], [2.333, 1.75]]
    assert bars[0]["y"] == ["1. drain", "2. fetch"]
    assert "<td>a&lt;b&gt;</td><td>c/d</td>" in page
    assert "The fabric takes 0.75 W, between 0.55 and 1.03" in page
    assert "<td>chip, about</td><td>4.15</td>" in page


def test_routed_timing_and_reported_power(nbqnn, folder, tmp_path):
    routed = {
        "fmax_mhz": 61.5,
        "clock_mhz": 50,
        "critical_path": {"from": "core.a", "to": "core.b", "delay_ns": 16.2, "logic_ns": 6.0,
                          "routing_ns": 10.2},
        "power": {"total_w": 4.5, "dynamic_w": 3.5, "static_w": 1.0, "confidence": "High",
                  "activity": True},
    }  # fmt: skip
    (folder / "area.json").write_text(json.dumps(SYNTH | routed))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Routed by Yosys: 61.5 MHz; 50 MHz are asked for." in page
    assert "<td>core.a</td><td>core.b</td><td>16.20</td>" in page
    assert "4.50 W by Yosys, with switching activity of a simulation: 3.50 W while it runs" in page


def test_titles_tell_two_areas_apart(nbqnn, folder, tmp_path):
    (folder / "other.json").write_text(json.dumps(SYNTH))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert ">Area of a ZCU102, by Yosys: area.json</h2>" in page
    assert ">Area of a ZCU102, by Yosys: other.json</h2>" in page


def test_areas_side_by_side(nbqnn, folder, tmp_path):
    """Those of shifts and multiplications, for example."""
    nbqnn("report", folder, "-o", "report.html")
    assert "Areas side by side" not in (tmp_path / "report.html").read_text()
    array = SYNTH["array"] | {"lut": 128, "dsp": 64}
    other = SYNTH | {"share": SYNTH["share"] | {"lut": 0.2, "dsp": 2.5}, "array": array, "dsp": 70}
    (folder / "multiply.json").write_text(json.dumps(other))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    (bars,) = (one for one in pictures(page) if one[0].get("name") == "area.json")
    assert [bar["y"] for bar in bars] == [[0.004, 0.004, 0.004, 0.0], [0.002, 0.004, 0.004, 0.025]]
    assert "<td>multiply.json</td><td>1,000</td><td>2,000</td><td>3.5</td><td>70</td>" in page
    assert "<td>9.4</td><td>0.00</td>" in page  # of lanes
    assert "<td>2.0</td><td>1.00</td>" in page


def test_schedule_of_the_rtl_beside_the_model(nbqnn, folder, tmp_path):
    """The pictures are there once for a program that was simulated: with both, named."""
    windows = {
        "windows": {"load": [7, 250], "compute": [260, 990]},
        "estimated_windows": {"load": [3, 251], "compute": [255, 991]},
    }
    layers = [layer | windows for layer in SIMULATE["layers"]]
    (folder / "simulated.json").write_text(json.dumps(SIMULATE | {"layers": layers}))
    planned = [COMPILE["layers"][0] | {"name": layer["name"]} for layer in layers]
    (folder / "compiled.json").write_text(json.dumps(COMPILE | {"layers": planned}))
    nbqnn("report", folder, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("When the engines work") == 1
    assert page.count(">Cycles of each layer</h3>") == page.count(">Roofline</h3>") == 1
    bars = {
        trace["name"]: (trace["base"], trace["x"])
        for picture in pictures(page)
        for trace in picture
        if "base" in trace
    }
    assert bars["load (RTL)"] == ([7, 7], [243, 243])
    assert bars["compute (RTL)"] == ([260, 260], [730, 730])
    assert bars["load (model)"] == ([3, 3], [248, 248])
    assert bars["compute (model)"] == ([255, 255], [736, 736])
    assert bars["store (RTL)"] == bars["store (model)"] == ([], [])
    assert "The array stands still in 20.0% of them: load 20.0%." in page


def test_two_folders_side_by_side(nbqnn, folder, tmp_path):
    """What is different in the second one, as a share or in points; what is equal is not listed."""
    other = tmp_path / "<after>"
    shutil.copytree(folder, other)
    layers = [SIMULATE["layers"][0] | {"cycles": 900.0}, SIMULATE["layers"][1]]
    changed = {
        "simulated.json": SIMULATE | {"cycles_per_image": 1400.0, "layers": layers},
        "area.json": SYNTH | {"lut": 1100, "dsp": 7},
        "accuracy.json": RESULTS["accuracy.json"] | {"accuracy": 0.9},
    }
    for name, content in changed.items():
        (other / name).write_text(json.dumps(content))
    (other / "build" / "hw.json").write_text(replace(PRESETS["tiny"], act_depth=256).to_json())
    nbqnn("report", folder, other, "-o", "report.html")
    page = (tmp_path / "report.html").read_text()
    section = page[page.index(">results beside &lt;after&gt;</h2>") :]
    section = section[: section.index("<h2")]
    cells = [tuple(re.findall(r"<t[dh]>(.*?)</t[dh]>", row)) for row in section.split("<tr>")]
    for row in (
        ("figure", "results", "&lt;after&gt;", "change"),
        ("on the RTL", "exact", "exact", ""),
        ("accuracy", "87.50%", "90.00%", "+2.50 points"),
        ("cycles an image", "1,500", "1,400", "-6.7%"),
        ("LUT", "1,000", "1,100", "+10.0%"),
        ("DSP", "0", "7", "new"),
        ("FF", "2,000", "2,000", ""),
        ("field of the configuration", "results", "&lt;after&gt;", "change"),
        ("act_depth", str(PRESETS["tiny"].act_depth), "256", ""),
        ("layer, cycles", "results", "&lt;after&gt;", "change"),
        ("first_layer", "1,000", "900", "-10.0%"),
    ):
        assert row in cells
    assert "pool" not in section
    assert "act_bits" not in section
    nbqnn("report", folder, folder, "-o", "same.html")
    assert "layer, cycles" not in (tmp_path / "same.html").read_text()
