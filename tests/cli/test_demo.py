"""The demo's folder: what it refuses, replaces and leaves when something fails."""

import json

import pytest

import scripts.demonstration
from hw.boards.registry import find_board
from hw.synth.area import Area
from hw.synth.results import synth_result
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.learn.results import TrainingResult
from scripts.demo_result import DemoResult
from sim.results import SimulationResult

#: Of both accelerators; area has tests of its own and takes a minute.
AREA = synth_result(
    "yosys", "Yosys 0", find_board("zcu102"), Area(lut=3, ff=3, bram36=3.0, dsp=3), Area(lut=2), 64
)

TRAINED = TrainingResult(
    accuracy=0.9, images=3, model="digits", data="digits", epochs=1, seed=0, seconds=1.0
)


def summary(mismatches: int) -> DemoResult:
    simulated = SimulationResult(
        images=3,
        batch=1,
        mismatches=mismatches,
        first_mismatch=None,
        cycles_per_image=10.0,
        stalls={},
        clock_mhz=250,
        macs_per_cycle=64,
        utilization=0.5,
        layers=(),
    )
    return DemoResult(
        network={"model": "digits", "data": "digits", "bits": 3, "act_bits": 8},
        train=TRAINED,
        evaluate=Evaluation(accuracy=0.9, images=3),
        simulate=simulated,
        synth={"shift": AREA},
        clock_mhz=250,
        images_per_second=25e6,
        seconds={"train": 1.0},
    )


@pytest.fixture
def stages(monkeypatch):
    """Stands in for the stages, each of which has tests of its own; the returned list drives it."""
    results = [summary(mismatches=0)]

    def run(demo):
        (demo.work / "artefact").write_text("new")
        result = results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(scripts.demonstration._Demo, "run", run)
    monkeypatch.setattr("scripts.tables.demo_tables", lambda summary: [])
    return results


def test_demo_leaves_everything_in_one_folder(nbqnn, stages, tmp_path):
    outcome = nbqnn("demo", "-o", "deep/demo")
    assert outcome.code == 0, outcome
    written = json.loads((tmp_path / "deep/demo/summary.json").read_text())
    assert DemoResult.from_json(written) == summary(mismatches=0)
    assert (tmp_path / "deep/demo/artefact").read_text() == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["demo"]


def test_demo_replaces_an_earlier_demo(nbqnn, stages, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("{}")
    (tmp_path / "demo" / "old").write_text("old")
    assert nbqnn("demo").code == 0
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "artefact",
        "summary.json",
    ]


def test_demo_refuses_a_folder_of_someone_else(refused, stages, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("keep")
    refused("demo folder must be new, empty or of an earlier demo, not 'demo'", "demo")


def test_demo_refuses_a_file_as_its_folder(refused, stages, tmp_path):
    (tmp_path / "demo").write_text("keep")
    refused("demo folder must be new, empty or of an earlier demo, not 'demo'", "demo")


def test_demo_refuses_bad_options_before_it_writes(refused):
    refused(r"Epochs must be in 1\.\.1000000, not 0", "demo", "--epochs", "0")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failed_demo_leaves_the_earlier_one(nbqnn, stages, tmp_path, failure):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("{}")
    stages[0] = failure
    if isinstance(failure, KeyboardInterrupt):
        assert nbqnn("demo").code == 130
    else:
        with pytest.raises(ZeroDivisionError):
            nbqnn("demo")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert (tmp_path / "demo" / "summary.json").read_text() == "{}"


def test_a_difference_is_exit_code_1(nbqnn, stages):
    stages[0] = summary(mismatches=2)
    assert nbqnn("demo").code == 1


def test_all_stages_in_one_go(nbqnn, monkeypatch, tmp_path):
    """Everything but the area for real, on the small accelerator and after one epoch."""
    monkeypatch.setattr(scripts.demonstration, "_PRESET", "tiny")
    monkeypatch.setattr(scripts.demonstration, "synth_yosys", lambda build, board, step: AREA)
    outcome = nbqnn("demo", "-o", "demo", "--epochs", "1")
    assert outcome.code == 0, outcome
    assert "test accuracy, integer graph" in outcome.out
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "digits.graph",
        "digits.program",
        "multiply",
        "run",
        "shift",
        "summary.json",
        "test_images.npy",
    }
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["evaluate"]["accuracy"] == summary["train"]["accuracy"] > 0.5
    assert (summary["simulate"]["images"], summary["simulate"]["mismatches"]) == (360, 0)
    assert list(summary["seconds"]) == [
        "train",
        "export",
        "evaluate",
        "generate",
        "compile",
        "simulate",
        "synth",
    ]
    cycles = summary["simulate"]["cycles_per_image"]
    assert summary["images_per_second"] == pytest.approx(250e6 / cycles)
