"""How far a training is: a bar in a terminal, one line for each epoch in a file."""

import sys
import time

import lightning
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

__all__ = ["EpochLines", "progress_callback"]


def progress_callback() -> Callback:
    """A bar with the time left where standard output is a terminal, else :class:`EpochLines`."""
    if sys.stdout.isatty():
        return TQDMProgressBar(refresh_rate=10, leave=False)
    return EpochLines()


class EpochLines(Callback):
    """One line on standard error after each epoch."""

    def __init__(self):
        self._started = 0.0
        self._first = 0

    def on_train_start(self, trainer: lightning.Trainer, module) -> None:
        self._started, self._first = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, module) -> None:
        if not trainer.is_global_zero:
            return
        done, seconds = trainer.current_epoch + 1, time.monotonic() - self._started
        left = seconds / (done - self._first) * (trainer.max_epochs - done)
        metrics = trainer.callback_metrics
        parts = [f"epoch {done}/{trainer.max_epochs}", f"loss {float(metrics['loss']):.4f}"]
        if "lambda" in metrics:
            parts.append(f"lambda {float(metrics['lambda']):.4f}")
        # The last epoch has none of its own where no images are held out.
        if "accuracy" in metrics and not (done == trainer.max_epochs and module.ends_unevaluated):
            parts.append(f"accuracy {float(metrics['accuracy']):.2%}")
        parts.append(f"{_clock(seconds)} so far, {_clock(left)} left")
        print(", ".join(parts), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
