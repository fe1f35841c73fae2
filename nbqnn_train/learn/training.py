"""Trains a network and leaves a run folder."""

import logging
import math
import pickle
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from nbqnn_train.data import DataSets, load_data, split
from nbqnn_train.data.batches import calibration_batches
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_text
from nbqnn_train.inputs.meaning import Meaning, write_meaning
from nbqnn_train.learn.accuracy import chance_notes, count_correct
from nbqnn_train.learn.allocation import keep_freed_memory
from nbqnn_train.learn.averages import WeightAverage
from nbqnn_train.learn.batch_norm import synchronize_batch_norm
from nbqnn_train.learn.checkpoints import Checkpoints
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.course import training_course
from nbqnn_train.learn.data import TrainingData
from nbqnn_train.learn.early_stop import EarlyStop
from nbqnn_train.learn.histograms import WeightHistograms
from nbqnn_train.learn.memory_format import in_fast_layout
from nbqnn_train.learn.module import QuantizedTrainingModule, TrainingModule
from nbqnn_train.learn.networks import (
    check_images,
    check_learning,
    float_network,
    quantized_network,
    rounded_network,
)
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.learn.pictures import course_sections, learning_figure, read_metrics
from nbqnn_train.learn.progress import progress_callback
from nbqnn_train.learn.results import TrainingCourse, TrainingResult
from nbqnn_train.learn.runs import (
    BEST,
    CHECKPOINT,
    COURSE,
    MEANING,
    PICTURES,
    RESULT,
    WEIGHTS,
    Run,
    open_run,
    write_weights,
)
from nbqnn_train.learn.sources import data_source, model_source
from nbqnn_train.learn.weight_files import read_weights
from nbqnn_train.pages import Section, page
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.own import give_biases, unshare

__all__ = ["train"]

_CALIBRATION_IMAGES = 1024
#: Values in the images from which errors of layers are computed: 64 images of CIFAR.
_PICTURE_PIXELS = 64 * 3 * 32 * 32


def train(config: TrainConfig, out: Path, resume: bool = False) -> TrainingResult | None:
    """Trains as ``config`` says, into the folder ``out``; returns what ``out/result.json`` holds.

    The folder gets the configuration, the latest Lightning checkpoint, logs for TensorBoard and as
    CSV, the final weights, pictures as HTML, and the result.

    With ``resume`` an interrupted run goes on after the step of its latest checkpoint, wherever in
    an epoch that is. It ends with the weights that it would have had without the interruption.

    Of several processes that train together the first one writes and returns the result. The others
    return None.

    Raises :class:`NbqnnError` for bad input before anything is written. For a loss that is not
    finite it is raised too; the last checkpoint stays.
    """
    started = time.monotonic()
    out = Path(out)
    config.check_files()
    data = split(load_data(config.data, config.data_dir), config.train_images, config.validation)
    if config.flips is not None and data.margin is None:
        raise NbqnnError(
            f"Flips must not be given for data set {config.data!r}: its images are not mirrored"
        )
    if data.classes < 2:
        raise NbqnnError(f"Data set {config.data!r} must have at least 2 classes to train, not 1")
    for model in filter(None, (config.model, config.teacher_model)):
        check_images(model, data.classes, data.input_shape)
    together = min(config.recipe().batch_size, len(data.train))
    check_learning(
        config.model, data.classes, data.input_shape, together // (config.devices * config.nodes)
    )
    torch.manual_seed(config.seed)
    keep_freed_memory()
    checkpoint = out / CHECKPOINT if resume and (out / CHECKPOINT).is_file() else None
    module = _training_module(config, data, resumed=checkpoint is not None)
    batches = TrainingData(data, module.recipe.batch_size, config.seed, module.recipe.flips)
    with _quiet():
        trainer = _trainer(config, out)
    batches.check_world(trainer.world_size)
    # Of several processes that train together the first one holds the folder.
    opened = nullcontext()
    if trainer.is_global_zero:
        sources = model_source(config.model), data_source(config.data)
        opened = open_run(out, Run(config, data.classes, data.input_shape, *sources), resume)
    with opened:
        if resume and (out / RESULT).is_file():
            return TrainingResult.read(out / RESULT)
        if checkpoint is not None:
            _check_checkpoint(checkpoint, module)
        with _interrupts(trainer, out):
            before = _accuracy_before(config, data) if trainer.is_global_zero else None
            with _quiet(), _threads(module.recipe.threads):
                trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
            if not trainer.is_global_zero:
                return None
            return _finish(config, out, module.cpu(), data, trainer, started, before)


def _accuracy_before(config: TrainConfig, data: DataSets) -> float | None:
    """On the test images, of the full-precision weights that are to be quantized."""
    if config.full_precision or config.pretrained is None:
        return None
    with torch.random.fork_rng(devices=()):
        network = float_network(config.model, data.classes, data.input_shape[0], config.pretrained)
    return count_correct(in_fast_layout(network), data.test, torch.float32) / len(data.test)


def _check_checkpoint(path: Path, module: TrainingModule) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        names = state["state_dict"].keys()
        groups = [len(group["params"]) for group in state["optimizer_states"][0]["param_groups"]]
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
    ) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NbqnnError(f"{path} must be a checkpoint of this run: {line}") from None
    now = [len(group.parameters) for group in module.parameter_groups()]
    if names != module.state_dict().keys() or groups != now:
        raise NbqnnError(
            f"{path} must be a checkpoint of this version of nbqnn, with {now} parameters in the "
            f"groups of its optimizer and the same names, not {groups}"
        )


def _training_module(config: TrainConfig, data: DataSets, *, resumed: bool) -> TrainingModule:
    """The module for Lightning; what is ``resumed`` gets its weights from a checkpoint."""
    recipe = config.recipe()
    rounded = recipe.start == "rounded" and not config.full_precision
    batch_size = min(recipe.batch_size, len(data.train))
    batches = len(data.train) // batch_size
    channels = data.input_shape[0]
    teacher = None
    options = {
        "recipe": recipe,
        "schedule": Schedule(
            steps=recipe.epochs * -(-batches // config.accumulate),
            warmup=recipe.warmup,
            freeze=recipe.freeze,
            settle=recipe.settle,
            blend_power=recipe.blend_power,
            rounded=rounded,
            rise=recipe.lr_rise,
            fall=recipe.lr_fall,
        ),
        "classes": data.classes,
        "seed": config.seed,
        "teacher_weight": config.teacher_weight,
    }
    with torch.random.fork_rng(devices=()):  # first weights depend on the seed alone
        if config.teacher is not None:
            teacher_model = config.teacher_model or config.model
            teacher = float_network(teacher_model, data.classes, channels, config.teacher)
        if not config.full_precision:
            calibration = calibration_batches(
                data.train,
                _CALIBRATION_IMAGES,
                max(batch_size, 128),
                config.seed,
                margin=data.margin,
                flips=recipe.flips,
            )
    if config.full_precision:
        network = float_network(config.model, data.classes, channels, config.pretrained)
        synchronize_batch_norm(network)
        return TrainingModule(network, teacher=teacher, **options)
    if rounded and not resumed:
        network = rounded_network(config, data.classes, data.input_shape, calibration)
    else:
        network = quantized_network(config, data.classes, data.input_shape, config.pretrained)
        if rounded:
            unshare(network)
            give_biases(network)
    synchronize_batch_norm(network)
    return QuantizedTrainingModule(network, teacher=teacher, calibration=calibration, **options)


def _trainer(config: TrainConfig, out: Path) -> lightning.Trainer:
    recipe = config.recipe()
    callbacks = [Checkpoints(out / CHECKPOINT), progress_callback()]
    if recipe.weight_average:
        callbacks.append(WeightAverage(recipe.weight_average))
    if not config.full_precision:
        callbacks.append(WeightHistograms())
    if config.patience is not None:
        callbacks.append(EarlyStop(config.patience, out / BEST))
    try:
        return lightning.Trainer(
            max_epochs=recipe.epochs,
            callbacks=callbacks,
            logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="tensorboard")],
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if config.devices * config.nodes > 1 else "auto",
            precision=config.precision,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=recipe.clip_gradients,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
            use_distributed_sampler=False,
            deterministic=True,
        )
    except MisconfigurationException as error:
        line = str(error).strip().splitlines()[0]
        raise NbqnnError(f"Devices must be there: {line}") from None


@contextmanager
def _interrupts(trainer: lightning.Trainer, out: Path) -> Iterator[None]:
    """Passes interrupts on, with a message that says how to go on.

    Lightning would turn the first into an exit and ignore all others.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, SystemExit) and not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        where = (
            "after its last checkpoint" if (out / CHECKPOINT).is_file() else "from its beginning"
        )
        raise KeyboardInterrupt(
            f"interrupted; nbqnn train --out {shlex.quote(str(out))} --resume goes on {where}"
        ) from None


def _finish(
    config: TrainConfig,
    out: Path,
    module: TrainingModule,
    data: DataSets,
    trainer: lightning.Trainer,
    started: float,
    accuracy_before: float | None,
) -> TrainingResult:
    network = module.network.eval()
    best = {}
    for stop in trainer.callbacks:
        if isinstance(stop, EarlyStop) and stop.epoch:
            network.load_state_dict(read_weights(stop.best))
            best = {"best_epoch": stop.epoch, "validation_accuracy": stop.accuracy}
    preparation = getattr(data.test, "preparation", None)
    meaning = Meaning(preparation=preparation, classes=data.class_names)
    write_meaning(out / MEANING, meaning)
    write_weights(out / WEIGHTS, network.state_dict())
    notes = network.notes if isinstance(network, QuantNetwork) else ()
    correct = count_correct(network, data.test)
    result = TrainingResult(
        accuracy=correct / len(data.test),
        images=len(data.test),
        model=config.model,
        data=config.data,
        epochs=trainer.current_epoch,
        seed=config.seed,
        seconds=round(time.monotonic() - started, 3),
        full_precision=config.full_precision or None,
        float_accuracy=accuracy_before,
        notes=(*notes, *chance_notes(correct, len(data.test), module.classes)),
        **best,
    )
    assert math.isfinite(result.accuracy)
    if module.ends_unevaluated:
        for logger in trainer.loggers:
            logger.log_metrics(
                {"accuracy": result.accuracy, "epoch": result.epochs - 1}, trainer.global_step - 1
            )
            logger.save()
    sections = [Section("Learning", [learning_figure(read_metrics(out / "csv"))])]
    if isinstance(network, QuantNetwork):
        course = _course(network, data, trainer)
        course.write(out / COURSE)
        sections += course_sections(course)
    write_text(out / PICTURES, page(out.name, sections))
    # The last file: with it the run is finished, and nothing is left for a resumed one.
    result.write(out / RESULT)
    return result


def _course(network: QuantNetwork, data: DataSets, trainer: lightning.Trainer) -> TrainingCourse:
    moments = next(c.moments for c in trainer.callbacks if isinstance(c, WeightHistograms))
    count = max(1, min(len(data.train), _PICTURE_PIXELS // math.prod(data.input_shape)))
    return training_course(network, moments, data.train.images(slice(count)))


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """At most ``count`` threads for one operation on the CPU; afterwards as many as before."""
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
