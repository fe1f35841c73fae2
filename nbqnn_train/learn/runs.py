"""The folder that a training leaves: what is in it and how it is written and read."""

import fcntl
import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

import tomli_w
import torch
from safetensors.torch import save

from nbqnn_train.graph.commit import source_commit
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_file, write_text
from nbqnn_train.learn.config import (
    TrainConfig,
    config_table,
    merge_config,
    read_config,
)
from nbqnn_train.learn.sources import Source, keep_source, read_source

__all__ = [
    "BEST",
    "CHECKPOINT",
    "CONFIG",
    "COURSE",
    "MEANING",
    "PICTURES",
    "RESULT",
    "WEIGHTS",
    "Run",
    "open_run",
    "read_run",
    "run_config",
    "write_weights",
]

CONFIG = "config.toml"
#: Of the Lightning loop, for resuming.
CHECKPOINT = "last.ckpt"
#: Weights of the best epoch, where a training may stop early.
BEST = "best.safetensors"
#: Of the trained network.
WEIGHTS = "weights.safetensors"
RESULT = "result.json"
PICTURES = "pictures.html"
#: Of weights on their way, and of errors; see :class:`nbqnn_train.learn.results.TrainingCourse`.
COURSE = "course.json"
#: Of inputs and outputs, see :mod:`nbqnn_train.inputs.meaning`.
MEANING = "meaning.json"
_PACKAGES = ("nbqnn", "torch", "lightning", "numpy", "safetensors")
#: Options that say where something is computed or lies. A resumed run may have others.
_MAY_DIFFER = ("accelerator", "data_dir", "devices", "nodes")


def write_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Named tensors as safetensors, written beside and renamed.

    What is one tensor under two names, as weights that two layers share, is written twice.
    """
    apart: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    write_file(path, save(apart))


@dataclass(frozen=True)
class Run:
    """What the configuration file of a run says of its network."""

    config: TrainConfig
    classes: int
    input_shape: tuple[int, ...]
    #: Where the model is a user's own, or a file.
    source: Source | None = None
    #: Where the data set is a user's own.
    data_source: Source | None = None


def run_config(
    out: Path, file: Path | None, given: Mapping[str, object], resume: bool
) -> TrainConfig:
    """The options of a training into the folder ``out``.

    Options ``given`` win, unless they are None. The others are those of ``file``, or of the run
    that is resumed.
    """
    if resume and file is None:
        if not (out / CONFIG).is_file():
            raise NbqnnError(f"Run to resume must be a folder with {CONFIG}, not {str(out)!r}")
        file = out / CONFIG
    return merge_config(file, given)


@contextmanager
def open_run(out: Path, run: Run, resume: bool) -> Iterator[None]:
    """Prepares the folder of a run and keeps other processes out of it until the end of the block.

    A new run must not exist yet. A resumed one must, and have been started with the same options;
    only where its data lies and what computes it may differ. A user's own model must not have
    changed since.

    Raises :exc:`NbqnnError` otherwise, and if another process trains in that folder.
    """
    if resume:
        if not (out / CONFIG).is_file():
            raise NbqnnError(f"Run to resume must be a folder with {CONFIG}, not {str(out)!r}")
    elif out.exists() and not out.is_dir():
        raise _not_new(out)
    else:
        out.mkdir(parents=True, exist_ok=True)
    with _held(out):
        if resume:
            _check_resumed(out, run)
        elif any(out.iterdir()):
            raise _not_new(out)
        else:
            for source in filter(None, (run.source, run.data_source)):
                keep_source(out, source)
            write_text(out / CONFIG, _config_text(run))
        yield


def _not_new(out: Path) -> NbqnnError:
    return NbqnnError(f"Run must be a new or empty folder (or resumed), not {str(out)!r}")


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The operating system lets go of the folder when this process ends, however it ends."""
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NbqnnError(
                f"Run {str(out)!r} is being trained by another process; "
                "stop it, or choose another --out"
            ) from None
        yield
    finally:
        os.close(folder)


def _check_resumed(out: Path, run: Run) -> None:
    resumed = read_run(out)
    before, now = resumed.config, run.config
    for option in fields(TrainConfig):
        was, given = getattr(before, option.name), getattr(now, option.name)
        if was != given and option.name not in _MAY_DIFFER:
            raise NbqnnError(
                f"Resumed run {str(out)!r} was started with {option.name} {_shown(was)}, "
                f"not {_shown(given)}"
            )
    if resumed.source is not None:
        resumed.source.check(out, before.model)
    if resumed.data_source is not None:
        resumed.data_source.check(out, before.data)


def _shown(value: object) -> str:
    return repr(str(value) if isinstance(value, Path) else value)


def _config_text(run: Run) -> str:
    versions = {"python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _PACKAGES}
    sources = filter(None, (run.source, run.data_source))
    commit = source_commit(40)
    tables = {
        "train": config_table(run.config),
        **{source.kind: source.table() for source in sources},
        "network": {"classes": run.classes, "input_shape": run.input_shape},
        "versions": versions,
        "source": {} if commit is None else {"commit": commit},
    }
    return tomli_w.dumps(tables)


def read_run(path: Path) -> Run:
    """The configuration of the run in the folder ``path``."""
    file = path / CONFIG
    if not file.is_file():
        raise NbqnnError(f"Run must be a folder with {CONFIG}, not {str(path)!r}")
    config = read_config(file)
    tables = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    network = tables.get("network")
    if not isinstance(network, dict):
        network = {}
    classes, shape = network.get("classes"), network.get("input_shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 3 or not _are_counts(classes, *shape):
        raise NbqnnError(
            f"{file} must give classes and input_shape under [network], as positive integers"
        )
    model, data = (read_source(file, kind, tables.get(kind)) for kind in ("model", "data"))
    return Run(config, classes, tuple(shape), model, data)


def _are_counts(*values: object) -> bool:
    return all(type(value) is int and value > 0 for value in values)
