"""Trains a network and leaves a run folder."""

import json
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from nbqnn_train.config import TrainConfig
from nbqnn_train.data import DataSets, load_data
from nbqnn_train.data.batches import calibration_batches, ordered_loader, train_loader
from nbqnn_train.evaluation import count_correct
from nbqnn_train.module import TrainingModule
from nbqnn_train.networks import check_images, float_network, quantized_network
from nbqnn_train.runs import (
    CHECKPOINT,
    RESULT,
    WEIGHTS,
    Run,
    open_run,
    write_result,
    write_weights,
)
from nbqnn_train.schedule import Schedule

__all__ = ["train"]

_CALIBRATION_IMAGES = 1024


def train(config: TrainConfig, out: Path, resume: bool = False) -> dict:
    """Trains as ``config`` says, into the folder ``out``; returns what ``out/result.json`` holds.

    The folder gets the configuration, the Lightning checkpoint of the last epoch, logs for
    TensorBoard and as CSV, the final weights and the result: ``accuracy`` (0 ... 1, of the network
    as it is exported, on all test images), ``images``, ``epochs``, ``seed``, ``seconds``.

    With ``resume`` an interrupted run goes on after its last complete epoch and ends with the
    weights that it would have had without the interruption.

    Raises :class:`NbqnnError` for bad input before anything is written, and for a loss that is not
    finite, which leaves the last checkpoint.
    """
    started = time.monotonic()
    out = Path(out)
    config.check_files()
    data = load_data(config.data, config.data_dir)
    check_images(config.model, data.classes, data.input_shape)
    torch.manual_seed(config.seed)
    channels = data.input_shape[0]
    network = quantized_network(config, data.classes, channels, config.pretrained)
    teacher = None
    if config.teacher is not None:
        teacher = float_network(config.model, data.classes, channels, config.teacher)
    open_run(out, Run(config, data.classes, data.input_shape), resume)
    if resume and (out / RESULT).is_file():
        return json.loads((out / RESULT).read_text(encoding="utf-8"))

    module = _training_module(config, data, network, teacher)
    checkpoint = out / CHECKPOINT
    with _quiet(), _threads(module.recipe.threads):
        trainer = _trainer(config, out)
        with _interrupts(trainer):
            trainer.fit(
                module,
                train_loader(
                    data.train,
                    module.recipe.batch_size,
                    config.seed,
                    margin=data.margin,
                    rank=trainer.global_rank,
                    world=trainer.world_size,
                ),
                ordered_loader(data.test, 256),
                ckpt_path=checkpoint if resume and checkpoint.is_file() else None,
                weights_only=True,
            )
    network.cpu()
    return _finish(config, out, network, data, module.recipe.epochs, started)


def _training_module(config, data: DataSets, network, teacher) -> TrainingModule:
    recipe = config.recipe()
    batch_size = min(recipe.batch_size, len(data.train))
    batches = len(data.train) // batch_size
    schedule = Schedule(
        steps=recipe.epochs * -(-batches // config.accumulate),
        warmup=recipe.warmup,
        fold=recipe.fold,
        settle=recipe.settle,
    )
    calibration = calibration_batches(data.train, _CALIBRATION_IMAGES, max(batch_size, 128))
    return TrainingModule(
        network,
        recipe,
        schedule,
        classes=data.classes,
        seed=config.seed,
        calibration=calibration,
        teacher=teacher,
    )


def _trainer(config: TrainConfig, out: Path) -> lightning.Trainer:
    checkpoints = ModelCheckpoint(
        dirpath=out,
        filename=CHECKPOINT.removesuffix(".ckpt"),
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return lightning.Trainer(
        max_epochs=config.recipe().epochs,
        callbacks=[checkpoints, TQDMProgressBar(refresh_rate=10, leave=False)],
        logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="tensorboard")],
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=True,
    )


@contextmanager
def _interrupts(trainer: lightning.Trainer) -> Iterator[None]:
    """Lets interrupts through, which Lightning turns into an exit and ignores from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _finish(config, out: Path, network, data: DataSets, epochs: int, started: float) -> dict:
    network.eval()
    write_weights(out / WEIGHTS, network.state_dict())
    correct = count_correct(network, data.test)
    result = {
        "accuracy": correct / len(data.test),
        "images": len(data.test),
        "model": config.model,
        "data": config.data,
        "epochs": epochs,
        "seed": config.seed,
        "seconds": round(time.monotonic() - started, 3),
    }
    assert math.isfinite(result["accuracy"])
    write_result(out, result)
    return result


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """At most ``count`` threads for one operation on the CPU; what a training sets is set back."""
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(min(before, count or before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's notes about devices and its advice on loaders for large data."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings(
                "ignore", message=".*number of training batches.*logging interval.*"
            )
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
