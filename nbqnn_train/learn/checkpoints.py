"""Writes the state of a training while it runs, so that it can go on after an interruption."""

import time
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Checkpoint

__all__ = ["Checkpoints"]

#: An interruption costs at most about so many seconds of work.
_SECONDS = 60.0


class Checkpoints(Checkpoint):
    """Writes ``path`` after each epoch, and about once a minute between two steps.

    Each replaces the one before. In the middle of a step nothing is written: the state is one that
    the training had between two batches.
    """

    def __init__(self, path: Path):
        self.path = path
        self._written = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module) -> None:
        self._written = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module, outputs, batch, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        # Gradients of a part of a step are not in a checkpoint. The end of an epoch has its own.
        if done % trainer.accumulate_grad_batches or done == trainer.num_training_batches:
            return
        due = time.monotonic() - self._written >= _SECONDS
        if trainer.strategy.broadcast(due):  # all processes write together
            self._write(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module) -> None:
        self._write(trainer)

    def _write(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._written = time.monotonic()
