"""What a training says at its end: which images were evaluated when, and whether it diverged."""

import json
from pathlib import Path

import pytest
from torchmetrics.classification import MulticlassAccuracy

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.module import TrainingModule
from nbqnn_train.learn.pictures import read_metrics
from nbqnn_train.learn.training import train

OPTIONS = {"model": "digits", "data": "digits", "epochs": 2, "batch_size": 256}


def trained(out: Path, **options) -> dict:
    train(TrainConfig(**OPTIONS | options), out)
    return json.loads((out / "result.json").read_text())


@pytest.mark.parametrize("held_out", [0, 100])
def test_test_images_are_evaluated_once_at_the_end(held_out, tmp_path, monkeypatch):
    """The curve ends with the exact accuracy, unless it is that of other images."""
    seen = []
    update = MulticlassAccuracy.update
    monkeypatch.setattr(
        MulticlassAccuracy,
        "update",
        lambda self, logits, labels: seen.append(len(labels)) or update(self, logits, labels),
    )
    result = trained(tmp_path / "run", full_precision=True, validation=held_out)
    curve = [value for _, value in read_metrics(tmp_path / "run" / "csv")["accuracy"]]
    assert len(curve) == 2
    if held_out:
        assert sum(seen) == 2 * held_out
    else:
        assert sum(seen) == result["images"] == 360
        assert curve[-1] == result["accuracy"]


def test_a_quantized_training_knows_the_accuracy_that_it_began_with(tmp_path):
    before = trained(tmp_path / "float", full_precision=True)
    weights = tmp_path / "float" / "weights.safetensors"
    after = trained(tmp_path / "quantized", pretrained=weights, start="real")
    assert after["float_accuracy"] == before["accuracy"]
    assert "float_accuracy" not in before
    assert after["accuracy"] != before["accuracy"]


def test_an_absurd_loss_that_stays_finite(tmp_path, monkeypatch):
    loss = TrainingModule._loss
    monkeypatch.setattr(TrainingModule, "_loss", lambda *args: loss(*args) + 1e5)
    with pytest.raises(NbqnnError) as caught:
        trained(tmp_path / "run", full_precision=True)
    assert str(caught.value) == (
        "Training must not diverge: no loss of epoch 1 is below 1e+05, and equal outputs for all "
        "10 classes have 2.3; a smaller learning rate helps"
    )
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_loss_that_is_absurd_for_a_while(tmp_path, monkeypatch):
    loss, calls = TrainingModule._loss, []

    def jumping(*args):
        calls.append(None)
        return loss(*args) + (1e5 if len(calls) % 5 else 0)

    monkeypatch.setattr(TrainingModule, "_loss", jumping)
    trained(tmp_path / "run", full_precision=True)
