"""Against learning the training images by heart: smoothed labels, flips."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nbqnn_train.data import load_data
from nbqnn_train.data.batches import train_loader
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.module import TrainingModule
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.learn.training import _training_module, train

OPTIONS = {"model": "digits", "data": "digits"}


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_smoothed_label_gives_a_share_to_all_classes(share):
    recipe = TrainConfig(**OPTIONS, label_smoothing=share).recipe()
    schedule = Schedule(10, warmup=0.0, freeze=0.0, settle=0.0, blend_power=1)
    options = {"classes": 4, "seed": 0, "teacher_weight": 0.7}
    module = TrainingModule(nn.Flatten(), recipe, schedule, **options)
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    loss = module._loss(logits, labels)
    wanted = share / 4 + (1 - share) * torch.eye(4)[labels]
    assert float(loss) == pytest.approx(float(-(wanted * logits.log_softmax(1)).sum(1).mean()))


def test_smoothing_is_off_by_default():
    assert TrainConfig(**OPTIONS).recipe().label_smoothing == 0


def test_flips_for_images_that_are_not_mirrored(tmp_path):
    config = TrainConfig(**OPTIONS, flips="alternating")
    with pytest.raises(NbqnnError) as caught:
        train(config, tmp_path / "run")
    assert str(caught.value) == (
        "Flips must not be given for data set 'digits': its images are not mirrored"
    )
    assert not (tmp_path / "run").exists()


def test_calibration_has_the_flips_of_the_training():
    data = replace(load_data("digits"), margin=0)
    config = TrainConfig(**OPTIONS, flips="alternating")
    module = _training_module(config, data, resumed=False)
    loader = train_loader(data.train, 128, config.seed, margin=0, flips="alternating")
    assert torch.equal(module.calibration[0], next(iter(loader))[0])
