"""Where a training freezes batch norm, the network computes on as it has learned to."""

import copy
from dataclasses import replace

import pytest
import torch

from nbqnn_train.data import load_data
from nbqnn_train.data.batches import train_loader
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.module import QuantizedTrainingModule
from nbqnn_train.learn.training import train
from nbqnn_train.quant import calibration
from nbqnn_train.quant.calibration import estimate_means


def outputs(network, x, *, frozen):
    """Of a training step, which leaves nothing behind."""
    network = copy.deepcopy(network)
    network.mode.frozen, network.mode.refresh = frozen, False
    with torch.no_grad():
        return network.train()(x)


def test_freezing_changes_little(tmp_path, monkeypatch):
    """0.04 of the output; 0.3 where the batch's variance counted until then, 0.7 where exponents
    were chosen anew, so that weights were others altogether.
    """
    start = QuantizedTrainingModule.on_train_batch_start
    errors = []

    def compared(self, batch, batch_idx):
        start(self, batch, batch_idx)
        if self.global_step == self.schedule.freeze_step:
            x = self.calibration[0]
            live = outputs(self.network, x, frozen=False)
            frozen = outputs(self.network, x, frozen=True)
            errors.append(float((frozen - live).norm() / live.norm()))

    monkeypatch.setattr(QuantizedTrainingModule, "on_train_batch_start", compared)
    train(TrainConfig(model="digits", data="digits", bits=2, epochs=6), tmp_path / "run")
    assert len(errors) == 1
    assert errors[0] < 0.1


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains the digits and gives back the module that did."""
    modules = []
    start = QuantizedTrainingModule.on_train_start
    monkeypatch.setattr(
        QuantizedTrainingModule, "on_train_start", lambda self: (modules.append(self), start(self))
    )

    def run(**options):
        given = {"model": "digits", "data": "digits", "bits": 2, "epochs": 6}
        train(TrainConfig(**given | options), tmp_path / "run")
        return modules[0]

    return run


def test_formats_and_means_are_taken_when_the_schedule_says(trained, monkeypatch):
    """Formats as quantization begins and as exponents stay, means as batch norm is frozen and
    last."""
    taken = []
    for name in ("calibrate_network", "estimate_means"):
        method = getattr(calibration, name)

        def recorded(network, batches, name=name, method=method):
            taken.append((name, network.mode.blend, network.mode.frozen))
            method(network, batches)

        monkeypatch.setattr(f"nbqnn_train.quantized_training.{name}", recorded)
    schedule = trained().schedule
    steps = [
        ("calibrate_network", schedule.learn_step),
        ("calibrate_network", schedule.exponents_step),
        ("estimate_means", schedule.freeze_step),
        ("estimate_means", schedule.steps - 1),
    ]
    phases = [(name, schedule.phase(step)) for name, step in steps]
    assert taken == [(name, phase.blend, phase.frozen) for name, phase in phases]


def test_means_at_the_end_are_those_of_what_was_learned(trained):
    """Estimated once more, from the same images, they are the same: a batch has its own means."""
    module = trained()
    norms = [op.norm for op in module.network.ops.values() if getattr(op, "norm", None) is not None]
    before = [norm.running_mean.clone() for norm in norms]
    estimate_means(module.network, module.calibration)
    assert norms
    for norm, mean in zip(norms, before, strict=True):
        torch.testing.assert_close(norm.running_mean, mean)


def test_means_and_formats_are_those_of_augmented_images(trained, monkeypatch):
    """From images as they are, the means cost ResNet-56 0.4 points."""
    digits = replace(load_data("digits"), margin=1)
    monkeypatch.setattr("nbqnn_train.learn.training.load_data", lambda *_: digits)
    seen, _ = next(iter(train_loader(digits.train, 128, seed=0, margin=1)))
    assert torch.equal(trained(epochs=1).calibration[0], seen)


@pytest.mark.parametrize(
    ("estimator", "requant_mode"),
    [("reconstructed", "shift"), ("ste", "shift"), ("reconstructed", "scale")],
)
def test_weights_stand_still_while_biases_follow(trained, monkeypatch, estimator, requant_mode):
    """Momentum and weight decay would move them on, and some across the middle of two levels. Gamma
    stands still where it is projected with them; as a multiplier it follows."""
    settled = []
    step = QuantizedTrainingModule.training_step

    def recorded(self, batch, batch_idx):
        if self.global_step == self.schedule.settle_step:
            settled.append(copy.deepcopy(self.network))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(QuantizedTrainingModule, "training_step", recorded)
    network = trained(estimator=estimator, requant_mode=requant_mode).network
    (before,) = settled
    formats = network.formats()
    for step in network.steps:
        layer, old = network.ops[step.name], before.ops[step.name]
        if step.name not in network.weighted_layers():
            continue
        source = formats[step.inputs[0]]
        assert torch.equal(layer.integers(source).codes, old.integers(source).codes)
        bias = layer.bias if layer.norm is None else layer.norm.bias
        assert not torch.equal(bias, old.bias if old.norm is None else old.norm.bias)
        if layer.norm is not None:
            still = torch.equal(layer.norm.weight, old.norm.weight)
            assert still == (requant_mode == "shift")
