"""Everything that decides what a training does."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import check_data
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.recipes import OPTIMIZERS, Recipe, recipe
from nbqnn_train.models import check_model

__all__ = [
    "ACCELERATORS",
    "PRECISIONS",
    "TrainConfig",
    "config_toml",
    "merge_config",
    "read_config",
    "toml_table",
]

#: Names of Lightning's plugins.
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu")
#: Tables of a run's configuration that say where it came from; they are not options.
_RECORDS = ("network", "source", "versions")
#: Above it λ is 1 within a few steps.
_LARGEST_POWER = 16
_PATHS = ("data_dir", "pretrained", "teacher")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of one training.

    None takes the default of the data set, :mod:`nbqnn_train.learn.recipes`.

    model, data : names; see :mod:`nbqnn_train.models` and :mod:`nbqnn_train.data`.
    data_dir : folder with the data set's files.
    train_images : the number of training images that are used; None uses all.
    validation : the number of training images that are held out. The accuracy after each epoch is
        theirs, or that of the test images with 0. Which images does not depend on the seed.
    bits : of weights, 2 ... 6.
    act_bits : of activations, 2 ... 16.
    estimator : see :mod:`nbqnn_train.quant.estimators`.
    lambda_power : how λ rises, 1 ... 16; see :class:`nbqnn_train.learn.phases.Schedule`.
    requant_mode, weight_exponents, percentile, overrides : see
        :class:`nbqnn_train.quant.config.QuantConfig`.
    full_precision : no quantization at all: the network to compare with, or to begin with.
    pretrained : file of full-precision weights to begin with.
    teacher : file of full-precision weights to distil from.
    teacher_model : the network that they belong to; None for the one that is trained.
    teacher_weight : share of the loss that is the distance to the teacher, above 0 and at most 1;
        the rest is the cross entropy with the labels.
    clip_gradients : largest Euclidean norm of a step's gradient. Longer gradients are scaled down
        to it; None leaves them as they are.
    precision : of the arithmetic while training, see ``PRECISIONS``; evaluation is always exact.
    accumulate : batches whose gradients are added up for one step.
    patience : the training stops after so many epochs without a better accuracy of the held-out
        images, and keeps the weights of the best epoch. None trains all epochs and keeps the last
        weights.
    accelerator, devices, nodes : what to compute on; ``batch_size`` counts the images of a batch on
        all devices together.
    """

    model: str
    data: str
    data_dir: Path | None = None
    train_images: int | None = None
    validation: int = 0
    bits: int = 3
    act_bits: int = 8
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    optimizer: str | None = None
    seed: int = 0
    estimator: str = "reconstructed"
    lambda_power: float | None = None
    requant_mode: str = "shift"
    weight_exponents: str = "channel"
    percentile: float | None = None
    full_precision: bool = False
    pretrained: Path | None = None
    teacher: Path | None = None
    teacher_model: str | None = None
    teacher_weight: float = 0.7
    clip_gradients: float | None = None
    precision: str = "32"
    accumulate: int = 1
    patience: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    overrides: Mapping[str, Mapping] = field(default_factory=dict)

    def __post_init__(self):
        self._check_kinds()
        check_model(self.model)
        if self.teacher_model is not None:
            check_model(self.teacher_model)
            if self.teacher is None:
                raise NbqnnError(f"Teacher's weights must be given for {self.teacher_model!r}")
        check_data(self.data)
        self.quant_config()
        for name, allowed in (
            ("precision", PRECISIONS),
            ("optimizer", (None, *OPTIMIZERS)),
            ("accelerator", ACCELERATORS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                names = ", ".join(filter(None, allowed))
                raise NbqnnError(f"{_words(name)} must be one of {names}, not {value!r}")
        for name in (
            *("epochs", "batch_size", "accumulate", "train_images"),
            *("patience", "devices", "nodes"),
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise NbqnnError(f"{_words(name)} must be at least 1, not {value!r}")
        if self.validation < 0:
            raise NbqnnError(f"Validation images must be at least 0, not {self.validation!r}")
        if self.patience is not None and not self.validation:
            raise NbqnnError("Validation images must be held out for patience, not 0")
        if self.lr is not None and not (0 < self.lr < math.inf):
            raise NbqnnError(f"Learning rate must be positive, not {self.lr!r}")
        if self.weight_decay is not None and not (0 <= self.weight_decay < math.inf):
            raise NbqnnError(f"Weight decay must not be negative, not {self.weight_decay!r}")
        if self.clip_gradients is not None and not (0 < self.clip_gradients < math.inf):
            raise NbqnnError(f"Clip gradients must be positive, not {self.clip_gradients!r}")
        if not 0 < self.teacher_weight <= 1:
            raise NbqnnError(
                f"Teacher weight must be above 0 and at most 1, not {self.teacher_weight!r}"
            )
        if self.lambda_power is not None and not 1 <= self.lambda_power <= _LARGEST_POWER:
            raise NbqnnError(
                f"Lambda power must be in 1..{_LARGEST_POWER}, not {self.lambda_power!r}"
            )
        if not 0 <= self.seed < 1 << 32:
            raise NbqnnError(f"Seed must be in 0..{(1 << 32) - 1}, not {self.seed!r}")
        for name in _PATHS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Path(value))

    def _check_kinds(self) -> None:
        """A file may hold a value of any kind for any option."""
        for option in fields(self):
            value, kind = getattr(self, option.name), str(option.type)
            if value is None and "None" in kind:
                continue
            article, allowed = next(v for k, v in _KINDS.items() if k in kind)
            if not isinstance(value, allowed) or (isinstance(value, bool) and allowed is not bool):
                raise NbqnnError(f"{_words(option.name)} must be {article}, not {value!r}")

    def check_files(self) -> None:
        """Raises :class:`NbqnnError` where a file or folder that is named does not exist."""
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise NbqnnError(f"Data folder must exist, not {str(self.data_dir)!r}")
        for name in ("pretrained", "teacher"):
            value = getattr(self, name)
            if value is not None and not value.is_file():
                raise NbqnnError(f"{_words(name)} weights must be a file, not {str(value)!r}")

    def quant_config(self) -> QuantConfig:
        """How the network is quantized."""
        return QuantConfig(
            weight_bits=self.bits,
            act_bits=self.act_bits,
            weight_exponents=self.weight_exponents,
            percentile=self.percentile,
            estimator=self.estimator,
            requant_mode=self.requant_mode,
            overrides=self.overrides,
        )

    def recipe(self) -> Recipe:
        """The data set's recipe with the options that were given."""
        given = {
            field.name: getattr(self, field.name)
            for field in fields(Recipe)
            if getattr(self, field.name, None) is not None
        }
        return recipe(self.data, fine_tune=self.pretrained is not None, **given)


#: What the annotation of an option contains -> how to say it, and Python's types for it.
_KINDS = {
    "Mapping": ("a table", Mapping),
    "Path": ("a path", (str, Path)),
    "bool": ("true or false", bool),
    "float": ("a number", (int, float)),
    "int": ("an integer", int),
    "str": ("text", str),
}


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def toml_table(values: Mapping) -> str:
    """``values`` as lines of TOML; None is left out, lists hold integers."""
    lines = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int | float | list):
            text = repr(value)
        else:
            text = _quoted(str(value))
        lines.append(f"{name} = {text}\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML. Its escapes are JSON's; it forbids one character that JSON allows."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def config_toml(config: TrainConfig) -> str:
    """The options that were given: what follows the line ``[train]``."""
    values = asdict(config)
    overrides = values.pop("overrides")
    tables = (
        f"\n[train.overrides.{_quoted(pattern)}]\n{toml_table(changes)}"
        for pattern, changes in overrides.items()
    )
    return toml_table(values) + "".join(tables)


def _read_table(path: Path) -> dict:
    """The table ``[train]`` of a file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NbqnnError(f"{path} must be a configuration: {error}") from None
    for name in tables:
        if name not in ("train", *_RECORDS):
            raise NbqnnError(f"{path}: options must be in the table [train], not at {name!r}")
    table = tables.get("train")
    if not isinstance(table, dict):
        raise NbqnnError(f"{path} must be a configuration: it has no table [train]")
    known = {option.name for option in fields(TrainConfig)}
    for name in table:
        if name not in known:
            raise NbqnnError(
                f"{path}: option must be one of {', '.join(sorted(known))}, not {name!r}"
            )
    return table


def merge_config(path: Path | None, given: Mapping) -> TrainConfig:
    """Joins the options of a file's table ``[train]``, if there is a file, with those ``given``.

    Those ``given`` win. The configuration of a run is such a file too. Paths in it are relative to
    the working folder.
    """
    table = {} if path is None else _read_table(path)
    table |= {name: value for name, value in given.items() if value is not None}
    for name in ("model", "data"):
        if name not in table:
            raise NbqnnError(f"{_words(name)} must be given, as --{name} or in a configuration")
    try:
        return TrainConfig(**table)
    except NbqnnError as error:
        # An option of the command line is at fault as often as one of the file.
        raise error if path is None else NbqnnError(f"{error} (with {path})") from None


def read_config(path: Path) -> TrainConfig:
    """The options in the ``[train]`` table of a run's ``config.toml``.

    Files and folders that it names need not exist any more: they have been read already.
    """
    table = _read_table(path)
    if not {"model", "data"} <= table.keys():
        raise NbqnnError(f"{path} must be a configuration: it names no model or no data")
    try:
        return TrainConfig(**table)
    except NbqnnError as error:
        raise NbqnnError(f"{path}: {error}") from None
