"""train, evaluate and export: what they write, and input that they refuse."""

import json
import signal

import numpy as np
import pytest

from nbqnn_train.graph import load, save
from nbqnn_train.learn.module import TrainingModule
from scripts.cli import main
from tests.cli.networks import small_graph

TRAIN = ["train", "--model", "digits", "--data", "digits", "--out", "run"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    arguments = [*TRAIN[:-1], str(folder), "--epochs", "1", "--seed", "3"]
    assert main(arguments) == 0
    return folder


def test_run_exports_to_a_graph_that_predicts_the_same(run, nbqnn, tmp_path):
    exported = nbqnn("export", run, "-o", "digits.graph")
    assert exported.code == 0, exported
    assert f"{len(load(tmp_path / 'digits.graph').nodes)} nodes" in exported.out
    results = []
    for subject in (run, "digits.graph"):
        outcome = nbqnn("evaluate", subject, "--data", "digits", "--json", "result.json")
        assert outcome.code == 0, outcome
        results.append(json.loads((tmp_path / "result.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["images"] == 360
    assert 0.5 < results[0]["accuracy"] <= 1
    assert results[0]["accuracy"] == json.loads((run / "result.json").read_text())["accuracy"]


@pytest.mark.parametrize(
    ("pattern", "option", "value"),
    [
        ("Model must be one of .*digits.*, not 'alex'", "--model", "alex"),
        ("Data set must be one of .*digits.*, not 'imagenot'", "--data", "imagenot"),
        ("Data folder must exist, not 'nowhere'", "--data-dir", "nowhere"),
        (r"Weight bits must be in 2\.\.6, not 9", "--bits", "9"),
        (r"Activation bits must be in 2\.\.16, not 1", "--act-bits", "1"),
        (r"Output bits must be in 2\.\.16, not 0", "--output-bits", "0"),
        (r"Input bits must be in 2\.\.16, not 17", "--input-bits", "17"),
        (r"Epochs must be in 1\.\.1000000, not 0", "--epochs", "0"),
        (r"Epochs must be in 1\.\.1000000, not 9{20}", "--epochs", "9" * 20),
        (r"Batch size must be in 1\.\.16777216, not -4", "--batch-size", "-4"),
        (r"Learning rate must be above 0 and at most 1e\+30, not -1\.0", "--lr", "-1"),
        (r"Seed must be in 0\.\.4294967295, not -1", "--seed", "-1"),
        ("Pretrained weights must be a file, not 'gone.safetensors'", "--pretrained", None),
    ],
)
def test_train_refuses(refused, pattern, option, value):
    refused(pattern, *TRAIN, option, value or "gone.safetensors")


def test_train_refuses_weights_that_are_no_safetensors(refused, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"\x80\x04not safetensors at all")
    refused(r".*weights\.safetensors.*", *TRAIN, "--pretrained", "weights.safetensors")


def test_train_refuses_a_folder_with_something_in_it(refused, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    refused("Run must be a new or empty folder.*, not 'run'", *TRAIN)


def test_train_refuses_to_resume_what_is_no_run(refused):
    refused("Run to resume must be a folder with .*, not 'run'", *TRAIN, "--resume")


@pytest.mark.parametrize(
    ("pattern", "data"),
    [
        ("Network must be a file or folder, or one of .*, not 'subject'", None),
        ("Graph file 'subject'.*", b""),
        ("Graph file 'subject'.*", b"this is not a graph"),
        ("Graph file 'subject'.*", b"\x80\x04\x95pickled"),
    ],
)
def test_evaluate_refuses_what_is_no_graph(refused, tmp_path, pattern, data):
    if data is not None:
        (tmp_path / "subject").write_bytes(data)
    refused(pattern, "evaluate", "subject", "--data", "digits", "--json", "result.json")


@pytest.fixture
def graph_bytes(tmp_path):
    """Writes the small graph's file with a change to its bytes."""

    def write(change=bytes):
        path = tmp_path / "subject"
        save(small_graph(), path)
        path.write_bytes(change(path.read_bytes()))

    return write


def test_evaluate_refuses_a_truncated_graph(refused, graph_bytes):
    graph_bytes(lambda data: data[: len(data) // 2])
    refused("Graph file 'subject': .*", "evaluate", "subject", "--data", "digits")


def test_evaluate_refuses_another_version(refused, graph_bytes):
    graph_bytes(lambda data: data[:8] + (99).to_bytes(4, "little") + data[12:])
    refused("Graph file 'subject': .*version.* 99.*", "evaluate", "subject", "--data", "digits")


def test_evaluate_refuses_unknown_data(refused, graph_bytes):
    graph_bytes()
    refused("Data set must be one of .*, not 'x'", "evaluate", "subject", "--data", "x")


def test_evaluate_refuses_images_of_another_shape(refused, tmp_path):
    save(small_graph((3, 16, 16)), tmp_path / "subject")
    refused(
        r"Images must have shape \(3, 16, 16\), not \(1, 8, 8\)",
        *["evaluate", "subject", "--data", "digits", "--json", "result.json"],
    )


def test_export_refuses_what_is_no_run(refused, tmp_path):
    (tmp_path / "graph").write_bytes(b"precious")
    (tmp_path / "run").mkdir()
    refused(".*'?run'?.*", "export", "run", "-o", "graph")
    refused(".*'?nowhere'?.*", "export", "nowhere", "-o", "graph")


def test_export_refuses_an_unfinished_run(refused, run, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.toml").write_bytes((run / "config.toml").read_bytes())
    refused("Run must be finished .*, not 'half'", "export", "half", "-o", "graph")


def test_export_refuses_a_place_that_cannot_be_written(refused, run, tmp_path):
    (tmp_path / "taken").mkdir()
    refused(".*'taken'.*", "export", run, "-o", "taken")
    refused(".*'gone/graph'.*", "export", run, "-o", "gone/graph")


def test_small_graph_is_what_these_tests_take_it_for(tmp_path, nbqnn):
    """Unharmed, the graph of the tests above is accepted."""
    save(small_graph(), tmp_path / "subject")
    outcome = nbqnn("evaluate", "subject", "--data", "digits")
    assert outcome.code == 0, outcome
    assert np.isclose(float(outcome.out.split()[1].rstrip("%")), 10, atol=15)


def test_export_writes_qonnx_too(run, nbqnn, tmp_path):
    onnx = pytest.importorskip("onnx")
    outcome = nbqnn("export", run, "-o", "graph [b]", "--qonnx", "digits.onnx")
    assert outcome.code == 0, outcome
    assert outcome.out.endswith(" nodes in graph [b]\n")
    onnx.checker.check_model(onnx.load(tmp_path / "digits.onnx"), full_check=False)


def test_inspect_lists_every_node(nbqnn, tmp_path):
    save(small_graph(), tmp_path / "graph [old]")
    outcome = nbqnn("inspect", "graph [old]")
    assert outcome.code == 0, outcome
    for node in small_graph().nodes:
        assert f" {node.name} " in outcome.out
    assert "2,304" in outcome.out  # multiplications of the convolution: 4 filters, 3x3, 8x8


def test_inspect_refuses_what_is_no_graph(refused, tmp_path):
    (tmp_path / "graph").write_text("text")
    refused("Graph file 'graph'.*", "inspect", "graph")


def test_an_interrupted_training_can_be_resumed(nbqnn, monkeypatch, tmp_path):
    arguments = [*TRAIN, "--epochs", "2"]
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(TrainingModule, "on_train_epoch_start", _interrupt_in_second_epoch)
        outcome = nbqnn(*arguments)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    line = "nbqnn: interrupted; nbqnn train --out run --resume goes on after its last checkpoint"
    assert outcome.err.splitlines()[-1] == line
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "run" / "result.json").exists()
    assert nbqnn("train", "--out", "run", "--resume").code == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 2


def _interrupt_in_second_epoch(module):
    if module.trainer.current_epoch == 1:
        raise KeyboardInterrupt
