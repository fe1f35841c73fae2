"""The average of the weights that training goes through."""

import numpy as np
import pytest
from safetensors.torch import load_file

from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.module import TrainingModule
from nbqnn_train.learn.training import train
from tests.train.learn.test_runs import assert_same_weights, interrupted_before

#: 22 steps. Exponents stay from step 8 on, weights from step 19 on.
OPTIONS = {"model": "digits", "data": "digits", "epochs": 2, "batch_size": 128}
NAME = "classifier.weight"


@pytest.mark.parametrize(("prefix", "steps"), [("", range(22)), ("ops.", range(8, 19))])
def test_the_average_takes_the_place_of_the_weights(prefix, steps, tmp_path, monkeypatch):
    course, step = [], TrainingModule.optimizer_step

    def recorded(module, *arguments, **options):
        step(module, *arguments, **options)
        course.append(module.network.state_dict()[prefix + NAME].numpy().copy())

    monkeypatch.setattr(TrainingModule, "optimizer_step", recorded)
    options = {"full_precision": not prefix, "weight_average": 0.75}
    train(TrainConfig(**OPTIONS, **options), tmp_path / "run")
    assert len(course) == 22
    kept = [0.75 ** len(steps[1:])] + [0.25 * 0.75 ** (steps[-1] - n) for n in steps[1:]]
    wanted = sum(share * course[n] for share, n in zip(kept, steps, strict=True))
    found = load_file(tmp_path / "run" / "weights.safetensors")[prefix + NAME].numpy()
    assert sum(kept) == pytest.approx(1)
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found - course[steps[-1]]).max() > 1e-4


def test_an_average_goes_on_after_an_interruption(tmp_path, monkeypatch):
    config = TrainConfig(**OPTIONS, weight_average=0.9)
    train(config, tmp_path / "whole")
    interrupted_before(13, config, tmp_path / "parts", monkeypatch)
    train(config, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
