"""explore: what it writes is what other commands take; input that it refuses."""

import json

import pytest

from hw.boards.presets import load_config
from hw.contract.config import AcceleratorConfig
from hw.synth.area import Area
from nbqnn_train.graph import save
from tests.cli.networks import small_graph


@pytest.fixture
def graph(tmp_path):
    save(small_graph(), tmp_path / "graph")
    return tmp_path / "graph"


@pytest.fixture
def area(monkeypatch):
    """Made up, so that nothing here depends on measurements."""

    def estimate(config: AcceleratorConfig) -> Area:
        return Area(
            lut=5_000 + 20 * config.multiplies_per_cycle + 100 * config.post_lanes,
            ff=10_000,
            bram36=config.act_depth * config.act_word_bits / 36_864,
        )

    monkeypatch.setattr("scripts.exploration.estimate_area", estimate)


def test_the_best_is_written_and_all_are_in_the_json(nbqnn, graph, area, tmp_path):
    arguments = ["--board", "zcu102", "--most", "12", "--json", "found.json", "-o", "found"]
    outcome = nbqnn("explore", graph, *arguments)
    assert outcome.code == 0, outcome
    result = json.loads((tmp_path / "found.json").read_text())
    candidates = result["candidates"]
    assert result["compiled"] == 12 < result["considered"]
    for candidate in candidates:
        assert candidate["lut"] <= 0.75 * 274_080
        assert candidate["bram36"] <= 0.85 * 912
        assert {"config", "cycles", "lut", "bram36", "dsp", "gops"} <= candidate.keys()
    assert candidates[0]["pareto"]
    assert candidates[0]["config"]["name"] == result["best"]
    best = load_config(path=tmp_path / "found" / "best.toml")
    assert json.loads(best.to_json()) == candidates[0]["config"]
    # 8-bit activations, 3-bit weights, sums below 2^19 in the graph, and no multiplier needed.
    assert (best.act_bits, best.weight_bits, best.requant) == (8, 3, "shift")
    assert "Pareto front" in (tmp_path / "found" / "explore.html").read_text()
    # The same network as a circuit is on the same front, before all that is slower and larger.
    circuits = result["circuits"]
    assert circuits[0]["interval"] == 1
    assert circuits[0]["common_front"]
    assert circuits[0]["images_per_second"] > candidates[0]["images_per_second"]
    assert "As a circuit (generate --spatial)" in outcome.out
    assert f"{circuits[0]['cycles']:,}" in outcome.out
    sizes = f"{best.lanes}×{best.filters}×{best.pixels}"
    assert sizes in outcome.out
    assert "the fastest is in found/best.toml" in outcome.out

    again = nbqnn("explore", graph, *arguments[:-3], "again.json", "-o", "again")
    assert again.code == 0, again
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "found.json").read_bytes()
    for name in ("best.toml", "explore.html"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "found" / name).read_bytes()


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        (
            "board must be one of kv260, pynq-z2, ultra96, ulx3s, zcu102, zcu104, not 'zcu999'",
            ["--board", "zcu999"],
        ),
        (
            "board for explore must be one of kv260, pynq-z2, ultra96, zcu102, zcu104, not 'ulx3s'",
            ["--board", "ulx3s"],
        ),
        (
            "pe must be one of shift, multiply, not 'divide'",
            ["--board", "zcu102", "--pe", "divide"],
        ),
        (
            "no configuration of at most 2,740 LUTs and 775 BRAM36 runs the graph: .*",
            ["--board", "zcu102", "--lut", "1"],
        ),
    ],
)
def test_explore_refuses(refused, graph, area, pattern, arguments):
    refused(pattern, "explore", graph, *arguments, "-o", "found")


def test_explore_refuses_what_is_no_graph(refused, area, tmp_path):
    (tmp_path / "text").write_text("not a graph")
    for name in ("text", "gone.graph"):
        refused(f"Graph file '{name}'.*", "explore", name, "--board", "zcu102")
