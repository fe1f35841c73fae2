"""inspect and import: what they show and write, and input that they refuse."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nbqnn_train.graph import load, save
from nbqnn_train.learn.runs import CONFIG, WEIGHTS
from nbqnn_train.qonnx import export_qonnx
from scripts.cli import main
from tests.cli.networks import small_graph


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = ["--model", "digits", "--data", "digits", "--epochs", "1", "--out", str(folder)]
    assert main(["train", *options]) == 0
    return folder


@pytest.fixture
def graph(tmp_path):
    save(small_graph(), tmp_path / "graph")


@pytest.fixture
def model(tmp_path):
    """Writes the small graph as QONNX, with a change to one of its initializers."""

    def write(name: str = "", change=None) -> None:
        export_qonnx(small_graph(), tmp_path / "model.onnx")
        if change is not None:
            proto = onnx.load(tmp_path / "model.onnx")
            (tensor,) = (t for t in proto.graph.initializer if t.name == name)
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
            onnx.save(proto, tmp_path / "model.onnx")

    return write


def test_inspect_shows_a_graph_by_node(nbqnn, graph, tmp_path):
    outcome = nbqnn("inspect", "graph", "--json", "result.json")
    assert outcome.code == 0, outcome
    lines = {line.split("│")[1].strip(): line for line in outcome.out.splitlines() if "│" in line}
    cells = [cell.strip() for cell in lines["conv"].split("│")[1:-1]]
    zeros = f"{np.mean(small_graph()['conv'].weight == 0):.0%}"
    # 4 filters of 3x3 on 8x8 positions; 36 weights of 3 bits and 4 exponents of a byte.
    assert cells[:5] == ["conv", "Conv2d", "4×8×8", "3", "20 (needs 13)"]
    assert cells[5:] == [zeros, "2,304", "18"]
    assert list(lines)[-1] == "in all"
    assert "quantization" not in outcome.out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["images"] == 0
    assert [node["name"] for node in result["nodes"]] == [n.name for n in small_graph().nodes]
    assert sum(result["nodes"][1]["weights"].values()) == 36


def test_inspect_counts_the_codes_of_a_graph(nbqnn, graph, tmp_path):
    outcome = nbqnn("inspect", "graph", "--data", "digits", "--json", "result.json")
    assert outcome.code == 0, outcome
    assert "What quantization did" in outcome.out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["images"] == 256
    codes = {n["name"]: n["codes"] for n in result["nodes"] if "codes" in n}
    assert sum(codes["image"].values()) == 256 * 64
    assert set(codes) == {"image", "conv_out", "logits"}


def test_inspect_compares_a_run_with_full_precision(nbqnn, run, tmp_path):
    outcome = nbqnn("inspect", run, "--json", "result.json")
    assert outcome.code == 0, outcome
    assert nbqnn("inspect", run, "--data", "digits", "--json", "again.json").code == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "result.json").read_bytes()
    nodes = {n["name"]: n for n in json.loads((tmp_path / "result.json").read_text())["nodes"]}
    weighted = [n for n in nodes.values() if n["weight_bits"]]
    assert len(weighted) == 4
    for node in weighted:
        assert 0 < node["weight_error"] < 0.5
        assert 0 < nodes[node["name"] + ".out"]["error"] < 1


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("Run or graph must exist, not 'gone.graph'", ["gone.graph"]),
        ("Graph file 'text'.*", ["text"]),
        ("Run must be a folder with config.toml, not 'empty'", ["empty"]),
        ("Weights to compare with need a run, not the graph 'graph'", ["graph", "--against", "x"]),
        ("Data set must be one of .*, not 'x'", ["graph", "--data", "x"]),
    ],
)
def test_inspect_refuses(refused, graph, tmp_path, pattern, arguments):
    (tmp_path / "text").write_text("text")
    (tmp_path / "empty").mkdir()
    refused(pattern, "inspect", *arguments, "--json", "result.json")


def test_inspect_refuses_images_of_another_shape(refused, tmp_path):
    save(small_graph((3, 16, 16)), tmp_path / "graph")
    shapes = r"\(3, 16, 16\), not \(1, 8, 8\)"
    refused(f"Images must have shape {shapes}", "inspect", "graph", "--data", "digits")


def test_inspect_refuses_what_a_run_cannot_be_compared_with(refused, run, tmp_path):
    refused(
        "Weights to compare with must be a file, not 'gone'",
        *["inspect", run, "--against", "gone"],
    )
    (tmp_path / "weights").write_bytes(b"\x80\x04not safetensors at all")
    refused(".*weights.*", "inspect", run, "--against", "weights")
    # A run's own file holds more than the weights of the network before conversion.
    refused(
        ".*must hold the weights of this network: .*", "inspect", run, "--against", run / WEIGHTS
    )
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / CONFIG).write_bytes((run / CONFIG).read_bytes())
    refused("Run must be finished .*, not 'half'", "inspect", "half")


def test_import_gives_the_graph_that_was_exported(nbqnn, graph, model, tmp_path):
    model()
    outcome = nbqnn("import", "model.onnx", "-o", "imported")
    assert outcome.code == 0, outcome
    assert outcome.out == "7 nodes in imported\n"
    nodes = zip(load(tmp_path / "imported").nodes, small_graph().nodes, strict=True)
    for found, expected in nodes:
        assert (type(found), found.name) == (type(expected), expected.name)


def third(values):
    values[0, 0, 0, 2] = 3


def not_a_number(values):
    values[1, 0, 1, 1] = np.nan


def infinite(values):
    values[1, 0, 1, 1] = np.inf


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        (r".*conv.*weight\[0, 0, 0, 2\] is .* times the smallest .*a signed power.*", third),
        (r".*conv.*weight.*: input 0 must be finite, not nan at \[1, 0, 1, 1\]", not_a_number),
        (r".*conv.*weight.*: input 0 must be finite, not inf at \[1, 0, 1, 1\]", infinite),
    ],
)
def test_import_refuses_weights(refused, model, tmp_path, pattern, change):
    model("conv#weight_float", change)
    (tmp_path / "imported").write_bytes(b"precious")
    refused(pattern, "import", "model.onnx", "-o", "imported")


@pytest.mark.parametrize("data", [b"", b"text", b"\x80\x04\x95pickled"])
def test_import_refuses_what_is_no_model(refused, tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    refused("QONNX file 'model.onnx'.*", "import", "model.onnx", "-o", "imported")


def test_import_refuses_a_truncated_model(refused, model, tmp_path):
    model()
    data = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(data[: len(data) // 2])
    refused("QONNX file 'model.onnx'.*", "import", "model.onnx", "-o", "imported")


def test_import_refuses_places(refused, model, tmp_path):
    refused("QONNX file 'gone' cannot be read: .*", "import", "gone", "-o", "imported")
    (tmp_path / "folder").mkdir()
    refused("QONNX file 'folder' cannot be read: .*", "import", "folder", "-o", "imported")
    model()
    refused(".*'folder'.*", "import", "model.onnx", "-o", "folder")
    refused(".*'gone/graph'.*", "import", "model.onnx", "-o", "gone/graph")
