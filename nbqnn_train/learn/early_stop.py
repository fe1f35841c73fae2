"""Stops a training that does not get better."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from nbqnn_train.learn.runs import write_weights

__all__ = ["EarlyStop"]


class EarlyStop(Callback):
    """Stops after ``patience`` epochs without a better accuracy of the held-out images.

    Epochs before activations are quantized have no accuracy and do not count. The weights of the
    best epoch go into the file ``best``. The checkpoint holds which epoch was the best.
    """

    def __init__(self, patience: int, best: Path):
        self.patience = patience
        self.best = best
        self.accuracy = -1.0
        #: The best epoch so far, from 1.
        self.epoch = 0
        self.waited = 0

    def on_validation_end(self, trainer: lightning.Trainer, module) -> None:
        found = trainer.callback_metrics.get("accuracy")
        if found is None or trainer.sanity_checking:
            return
        if float(found) > self.accuracy:
            self.accuracy, self.waited = float(found), 0
            self.epoch = trainer.current_epoch + 1
            if trainer.is_global_zero:
                write_weights(self.best, module.network.state_dict())
        else:
            self.waited += 1
            self._stop_when_over(trainer)

    def on_train_start(self, trainer: lightning.Trainer, module) -> None:
        self._stop_when_over(trainer)  # resumed when it was over already

    def _stop_when_over(self, trainer: lightning.Trainer) -> None:
        if self.waited >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict:
        return {"accuracy": self.accuracy, "epoch": self.epoch, "waited": self.waited}

    def load_state_dict(self, state: dict) -> None:
        self.accuracy, self.epoch, self.waited = (
            state[name] for name in ("accuracy", "epoch", "waited")
        )
