"""generate, compile, simulate and synth: input that they refuse, and what is quick to write."""

import json

import numpy as np
import pytest

from hw.config import load_config
from nbqnn_train.graph import save
from tests.cli.networks import small_graph


@pytest.fixture
def build(tmp_path):
    """As far as a command that must not come to use it needs it: a build folder without logic."""
    folder = tmp_path / "build"
    (folder / "rtl").mkdir(parents=True)
    (folder / "hw.json").write_text(load_config(preset="tiny").to_json())
    (folder / "rtl" / "nbqnn.v").write_text("module nbqnn(input clk, output q);\nendmodule\n")
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
        ("a configuration needs either a preset or a file", []),
        (
            "a configuration needs either a preset or a file",
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
        (r"hw\.toml: acc_bits must hold one product of 11 bits, not 8", {"acc_bits": 8}),
        (r"hw\.toml: unknown field 'lanez'; known are .*", {"lanez": 8}),
        (r"hw\.toml: act_bits must be of type int, not '8'", {"act_bits": "8"}),
    ],
)
def test_generate_refuses_a_configuration_that_does_not_fit(refused, tmp_path, pattern, change):
    values = {"name": "mine", "lanes": 8, "filters": 8, "pixels": 1, "post_lanes": 4} | change
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (tmp_path / "hw.toml").write_text("".join(lines))
    refused(pattern, "generate", "--config", "hw.toml", "-o", "build")


def test_generate_refuses_a_file_that_is_no_toml(refused, tmp_path):
    (tmp_path / "hw.toml").write_text("lanes: 8")
    refused(r"configuration hw\.toml is not TOML: .*", "generate", "--config", "hw.toml", "-o", "b")


def test_synth_refuses_an_unknown_board(refused, build):
    refused(
        "board must be one of zcu102, ulx3s, not 'zcu999'",
        *["synth", build, "--tool", "yosys", "--board", "zcu999"],
    )


@pytest.mark.parametrize("tool", ["yosys", "vivado"])
def test_synth_refuses_what_is_no_build(refused, tmp_path, tool):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        refused(
            rf"build '{folder}' must be a folder that generate wrote: no hw\.json",
            *["synth", folder, "--tool", tool, "--json", "area.json"],
        )


def test_synth_vivado_says_what_to_run_elsewhere(nbqnn, build, tmp_path):
    outcome = nbqnn("synth", build, "--tool", "vivado", "--json", "written.json")
    assert outcome.code == 0, outcome
    folder = build / "vivado-zcu102"
    last = outcome.out.splitlines()[-1]
    assert last.endswith(f"cd {folder} && vivado -mode batch -source build.tcl")
    written = json.loads((tmp_path / "written.json").read_text())["files"]
    assert sorted(written) == sorted(map(str, (p for p in folder.rglob("*") if p.is_file())))
    assert all(f"wrote {file}" in outcome.out for file in written)


def test_compile_refuses_what_is_no_graph(refused, build, tmp_path):
    (tmp_path / "text").write_text("not a graph")
    (tmp_path / "program").write_bytes(b"precious")
    for name in ("text", "gone"):
        refused(f"Graph file '{name}'.*", "compile", name, "--hw", build, "-o", "program")


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
            r"images 'x\.npy' must be float32 \(N, C, H, W\), not float64 \(2, 1, 8, 8\)",
            np.zeros((2, 1, 8, 8)),
        ),
        (
            r"images 'x\.npy' must be float32 \(N, C, H, W\), not float32 \(2, 64\)",
            np.zeros((2, 64), dtype=np.float32),
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
