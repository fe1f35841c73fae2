"""A training as a piece of work, for workers that see the same folders."""

import threading
from dataclasses import replace
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.runs import CONFIG, RESULT
from nbqnn_train.learn.training import train

__all__ = ["check_result", "found_anywhere", "train_run"]

#: Random numbers are those of a process: its threads train one after the other.
_training = threading.Lock()


def found_anywhere(config: TrainConfig) -> TrainConfig:
    """The same with absolute paths."""
    paths = {name: getattr(config, name) for name in ("data_dir", "pretrained", "teacher")}
    return replace(
        config, **{name: path.absolute() for name, path in paths.items() if path is not None}
    )


def train_run(shared: None, run: tuple[TrainConfig, Path]) -> str:
    """Trains into a folder, or goes on there; returns the folder's name."""
    config, folder = run
    if config.devices * config.nodes > 1:
        raise NbqnnError(
            f"A training on a cluster must have one device, not {config.devices * config.nodes}"
        )
    with _training:
        train(config, folder, resume=(folder / CONFIG).is_file())
    return folder.name


def check_result(folder: Path) -> None:
    """Raises :exc:`NbqnnError` if a training elsewhere has left nothing here."""
    if not (folder / RESULT).is_file():
        raise NbqnnError(
            f"folder {str(folder)!r} must be one that all workers see under this name, but has no "
            "result of the training that ended elsewhere"
        )
