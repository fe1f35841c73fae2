"""Where a training folds batch norm, the network computes on as it has learned to."""

import copy

import torch

from nbqnn_train.config import TrainConfig
from nbqnn_train.module import QuantizedTraining
from nbqnn_train.training import train


def outputs(network, x, *, folded):
    """Of a training step, which leaves nothing behind."""
    network = copy.deepcopy(network)
    network.mode.folded, network.mode.refresh = folded, False
    with torch.no_grad():
        return network.train()(x)


def test_folding_changes_little(tmp_path, monkeypatch):
    """0.04 of the output; 0.3 where the batch's variance counted until then, 0.7 where exponents
    were chosen anew, so that weights were others altogether.
    """
    calibrate = QuantizedTraining._calibrate
    errors = []

    def compared(self):
        calibrate(self)
        if self.network.mode.folded:
            x = self.calibration[0]
            live = outputs(self.network, x, folded=False)
            folded = outputs(self.network, x, folded=True)
            errors.append(float((folded - live).norm() / live.norm()))

    monkeypatch.setattr(QuantizedTraining, "_calibrate", compared)
    train(TrainConfig(model="digits", data="digits", bits=2, epochs=6), tmp_path / "run")
    assert len(errors) == 1
    assert errors[0] < 0.1


def test_means_at_the_end_are_those_of_what_was_learned(tmp_path, monkeypatch):
    """Estimated once more, from the same images, they are the same: a batch has its own means."""
    modules = []
    start = QuantizedTraining.on_train_start
    monkeypatch.setattr(
        QuantizedTraining, "on_train_start", lambda self: (modules.append(self), start(self))
    )
    train(TrainConfig(model="digits", data="digits", bits=2, epochs=6), tmp_path / "run")
    (module,) = modules
    norms = [op.norm for op in module.network.ops.values() if getattr(op, "norm", None) is not None]
    before = [norm.running_mean.clone() for norm in norms]
    module.network.estimate_means(module.calibration)
    assert norms
    for norm, mean in zip(norms, before, strict=True):
        torch.testing.assert_close(norm.running_mean, mean)
