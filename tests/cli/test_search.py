"""search: widths for layers from the command line; it goes on, and says what it cannot reach."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig
from nbqnn_train.graph import Linear, NbqnnError, load, tensor_types
from nbqnn_train.learn.config import read_config
from scripts.quantizing import Task
from scripts.search_pieces import Searched, digest, search_piece
from tests.cli.test_quantize import network  # noqa: F401

SEARCH = [
    *("search", "--model", "quantized_net.py:build", "--pretrained", "weights.pt"),
    *("--input", "x.npy", "--images", "20", "-o", "found"),
]
pytestmark = pytest.mark.usefixtures("network")


def result(tmp_path):
    return json.loads((tmp_path / "result.json").read_text())


def test_points_a_stop_and_a_budget(nbqnn, tmp_path):
    outcome = nbqnn(*SEARCH, "--points", "2", "--json", "result.json")
    assert outcome.code == 0, outcome
    found = result(tmp_path)
    names = [point["name"] for point in found["points"]]
    assert names[0] == "uniform-2"
    assert names[-1] == "uniform-4"
    assert {"uniform-3"} < set(names)
    assert found["images"] == 20
    weights = {layer["path"]: layer["weights"] for layer in found["layers"]}
    assert weights == {"0": 72, "4": 128}
    mixed = [point for point in found["points"] if point["name"].startswith("mixed")]
    assert mixed
    for point in mixed:
        bits = sum(weights[path] * width for path, width in point["widths"].items())
        assert point["weight_bytes"] == -(-bits // 8)
        graph = load(tmp_path / "found" / point["name"])
        (linear,) = (node for node in graph.nodes if isinstance(node, Linear))
        assert linear.weight_bits == point["widths"]["4"]
        text = (tmp_path / "found" / f"{point['name']}.toml").read_text()
        assert tomllib.loads(text)["train"]["overrides"]["4"]["weight_bits"] == point["widths"]["4"]
    assert "<html" in (tmp_path / "found" / "search.html").read_text()
    # A line was cut off when the search was stopped: what is whole is not done again.
    journal = tmp_path / "found" / "search.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:30])
    before = (tmp_path / "found" / "uniform-2").stat().st_mtime_ns
    assert nbqnn(*SEARCH, "--points", "2", "--json", "result.json").code == 0
    assert result(tmp_path) == found
    assert (tmp_path / "found" / "uniform-2").stat().st_mtime_ns == before
    # The layer that has fewer weights gets the bits.
    outcome = nbqnn(*SEARCH, "--max-bytes", "70", "--json", "result.json")
    assert outcome.code == 0, outcome
    (best,) = (p for p in result(tmp_path)["points"] if p["name"] == result(tmp_path)["best"])
    assert best["weight_bytes"] <= 70
    outcome = nbqnn(*SEARCH, "--min-agreement", "0.5", "--json", "result.json")
    assert outcome.code == 0, outcome
    (best,) = (p for p in result(tmp_path)["points"] if p["name"] == result(tmp_path)["best"])
    assert best["agreement"] >= 0.5


def test_workers_find_the_same(nbqnn, tmp_path):
    """Whatever runs where: the figures, and the graphs to the byte."""
    assert nbqnn(*SEARCH, "--points", "1", "--json", "result.json").code == 0
    here = result(tmp_path)
    graphs = [tmp_path / "found" / point["name"] for point in here["points"]]
    wanted = [graph.read_bytes() for graph in graphs]
    (tmp_path / "found").rename(tmp_path / "before")
    outcome = nbqnn(*SEARCH, "--points", "1", "--json", "result.json", "--cluster", "local")
    assert outcome.code == 0, outcome
    assert "dashboard at" in outcome.err
    assert result(tmp_path) == here
    assert [graph.read_bytes() for graph in graphs] == wanted


def test_a_worker_with_other_files_is_refused(tmp_path, monkeypatch):
    """What has the same name may be another file there."""
    monkeypatch.chdir(tmp_path)
    task = Task(
        model="quantized_net.py:build", pretrained=Path("weights.pt"), inputs=Path("x.npy")
    ).anywhere()
    shared = Searched(
        task=task,
        config=QuantConfig(),
        widths=(2, 3),
        images=20,
        seed=0,
        weights="0" * 64,
        inputs="0" * 64,
    )
    with pytest.raises(NbqnnError, match=r"^Workers must find the same weights .*"):
        search_piece(shared, None)
    found = task.read(40, 0)
    right = digest(found.network.state_dict().values())
    with pytest.raises(NbqnnError, match=r"^Workers must find the same inputs .*"):
        search_piece(replace(shared, weights=right), None)


def test_what_it_says_of_budgets(refused, nbqnn, tmp_path):
    refused("Budget must be one of .*", *SEARCH, "--max-bytes", "9", "--min-agreement", "1")
    refused("Widths must be numbers .*, not '2,x'", *SEARCH, "--widths", "2,x")
    refused(r"Widths must be at least two of 2\.\.\.6 bits, not '3'", *SEARCH, "--widths", "3")
    refused("Inputs must be given by one of .*", *SEARCH, "--data", "digits")
    assert nbqnn(*SEARCH, "--points", "1", "--widths", "2,3").code == 0
    refused(
        "Weights must have at least 50 bytes with these widths, 41 more than --max-bytes 9",
        *(*SEARCH, "--widths", "2,3", "--max-bytes", "9"),
    )
    refused(
        r"Search in 'found' was begun with other options \(widths\); .*",
        *(*SEARCH, "--widths", "2,4"),
    )
    # Other weights under the same name are another search.
    before = (tmp_path / "weights.pt").read_bytes()
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.save({name: 2 * tensor for name, tensor in state.items()}, tmp_path / "weights.pt")
    refused(
        r"Search in 'found' was begun with other options \(weights\); .*",
        *(*SEARCH, "--widths", "2,3"),
    )
    (tmp_path / "weights.pt").write_bytes(before)
    # It was stopped before its first result.
    journal = tmp_path / "found" / "search.jsonl"
    journal.write_text(journal.read_text().splitlines()[0] + "\n")
    assert nbqnn(*SEARCH, "--points", "1", "--widths", "2,3").code == 0
    assert nbqnn(*SEARCH, "--points", "1", "--widths", "2,3").code == 0
    (tmp_path / "found" / "search.jsonl").write_text('{"model": 3}\n{"layers": 5}\n')
    refused(r".*search\.jsonl' must be of a search.*|Search in .*", *SEARCH)
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 6, 6), np.float32))
    refused("Images .* must be at least 16, not 3", *SEARCH[:-1], "other")


def test_options_for_training_are_read(nbqnn, tmp_path):
    assert nbqnn(*SEARCH, "--points", "1", "--input-bits", "6", "--output-bits", "9").code == 0
    graph = load(tmp_path / "found" / "uniform-3")
    assert graph.input_nodes[0].bits == 6
    assert tensor_types(graph)[graph.outputs[0]].bits == 9
    options = tmp_path / "found" / "uniform-3.toml"
    text = options.read_text().replace("[train]", '[train]\nmodel = "digits"\ndata = "digits"', 1)
    options.write_text(text)
    assert read_config(options).overrides["0"] == {"weight_bits": 3}
    assert (read_config(options).input_bits, read_config(options).output_bits) == (6, 9)


def test_mixes_of_equal_bytes(nbqnn, tmp_path):
    """A budget's mix does not depend on what was found before: a byte holds several mixes here."""
    (tmp_path / "few.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))\n"
    )
    x = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    np.save(tmp_path / "few.npy", x)
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    torch.save(module.state_dict(), tmp_path / "few.pt")
    search = ["search", "--model", "few.py:build", "--pretrained", "few.pt", "--input", "few.npy"]
    best = {}
    for before in ([], ["--points", "5"]):
        arguments = [*search, "-o", f"found-{len(before)}"]
        if before:
            assert nbqnn(*arguments, *before).code == 0
        for most in (3, 4):
            outcome = nbqnn(*arguments, "--max-bytes", str(most), "--json", "result.json")
            assert outcome.code == 0, outcome
            found = result(tmp_path)
            (point,) = (p for p in found["points"] if p["name"] == found["best"])
            best.setdefault(most, []).append(point["widths"])
    assert all(fresh == later for fresh, later in best.values())
