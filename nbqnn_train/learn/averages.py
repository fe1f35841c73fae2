"""A running average of a network over the steps of its training."""

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from nbqnn_train.learn.module import TrainingModule

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Averages what the network learns, and puts the average in its place.

    After each step ``a = share * a + (1 - share) * w``, over the steps that the module names
    (:attr:`nbqnn_train.learn.module.TrainingModule.averaged`); then the network goes on with the
    average. What batch norm remembers of its inputs is averaged with the weights. The checkpoint
    holds the average.
    """

    def __init__(self, share: float):
        self.share = share
        #: Steps that were looked at.
        self.done = 0
        self.average: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: TrainingModule, outputs, batch, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == self.done:  # a further batch of the same step
            return
        self.done = step
        values = _values(module.network)
        with torch.no_grad():
            if step == module.averaged.start + 1:
                self.average = {name: value.clone() for name, value in values.items()}
            elif step - 1 in module.averaged:
                for name, value in values.items():
                    self.average[name].lerp_(value, 1 - self.share)
            if step == module.averaged.stop:
                for name, value in values.items():
                    value.copy_(self.average[name])
                self.average = {}

    def state_dict(self) -> dict:
        return {"done": self.done, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.done, self.average = state["done"], state["average"]

    def on_train_start(self, trainer: lightning.Trainer, module: TrainingModule) -> None:
        self.average = {name: value.to(module.device) for name, value in self.average.items()}


def _values(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of real numbers, by name; they share memory with the network's."""
    return {
        name: value.detach()
        for name, value in network.state_dict(keep_vars=True).items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
