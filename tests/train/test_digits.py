"""The whole way of the digits: trained, exported, evaluated, to the bit."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from nbqnn_train.data import load_data
from nbqnn_train.evaluation import evaluate
from nbqnn_train.graph import Conv2d, Linear, Requantize, load, run, save
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.trained import export_run, load_run
from nbqnn_train.learn.training import train
from tests.train.exactness import assert_exact

CONFIG = TrainConfig(model="digits", data="digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with the defaults: 3-bit weights, 8-bit activations."""
    out = tmp_path_factory.mktemp("digits") / "run"
    train(CONFIG, out)
    return out


@pytest.fixture(scope="module")
def graph_file(trained):
    path = trained.parent / "digits.nbqnn"
    save(export_run(trained), path)
    return path


def test_accuracy_and_result(trained):
    result = json.loads((trained / "result.json").read_text())
    assert result["accuracy"] >= 0.97
    assert result["images"] == 360
    assert result["seed"] == 0
    assert result["epochs"] == CONFIG.recipe().epochs
    assert 0 < result["seconds"] < 120


def test_run_folder(trained):
    assert sorted(p.name for p in trained.iterdir()) == [
        "config.toml",
        "course.json",
        "csv",
        "last.ckpt",
        "meaning.json",
        "pictures.html",
        "result.json",
        "tensorboard",
        "weights.safetensors",
    ]
    text = (trained / "config.toml").read_text()
    for expected in ('model = "digits"', "seed = 0", "torch = ", "classes = 10"):
        assert expected in text
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    if shutil.which("git") and not subprocess.run(git, capture_output=True).returncode:
        assert re.search(r'^commit = "[0-9a-f]{40}(-dirty)?"$', text, re.M)
    header, *rows = next(trained.glob("csv/*/metrics.csv")).read_text().splitlines()
    assert {"epoch", "step", "loss", "lambda", "accuracy"} <= set(header.split(","))
    assert len(rows) > 10
    assert list(trained.glob("tensorboard/*/events*"))


def test_every_activation_of_every_image_is_exact(trained):
    images = load_data("digits").test.images()
    graph = assert_exact(load_run(trained), images)
    assert {node.weight_bits for node in graph.nodes if isinstance(node, Conv2d | Linear)} == {3}
    multipliers = [node.multiplier for node in graph.nodes if isinstance(node, Requantize)]
    assert set(np.concatenate(multipliers)) == {1}  # nothing but shifts and adds


def test_graph_predicts_what_pytorch_predicts(trained, graph_file):
    images = load_data("digits").test.images()
    with torch.no_grad():
        logits = load_run(trained)(torch.from_numpy(images)).numpy()
    assert np.array_equal(run(load(graph_file), images).argmax(1), logits.argmax(1))


def test_evaluations_agree(trained, graph_file):
    result = json.loads((trained / "result.json").read_text())
    expected = Evaluation(accuracy=result["accuracy"], images=360)
    assert evaluate(trained, "digits") == expected
    assert evaluate(graph_file, "digits") == expected


def test_folding_costs_no_accuracy(trained):
    """With real activations and biases PyTorch is no better by more than 1 point.

    Of the test images as they are and moved by a pixel in each direction: of 360 alone, four that
    are a close call would be more than a point.
    """
    network = load_run(trained)
    data = load_data("digits")
    images = torch.from_numpy(data.test.images())
    moves = ((0, 0), (1, 2), (-1, 2), (1, 3), (-1, 3))
    images = torch.cat([images.roll(shift, axis) if axis else images for shift, axis in moves])
    labels = np.tile(data.test.labels, len(moves))

    def accuracy(outputs):
        return float((outputs.detach().numpy().argmax(1) == labels).mean())

    exact = accuracy(network.double()(images.double()))
    network.float().train()
    network.mode.frozen, network.mode.activations = True, False
    real = accuracy(network(images))
    assert exact > 0.7
    assert exact >= real - 0.01
