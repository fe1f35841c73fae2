"""Everything that decides what a training does."""

import tomllib
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import check_data
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.options import TrainOptions
from nbqnn_train.learn.recipes import Recipe, recipe
from nbqnn_train.models import check_model
from nbqnn_train.models.from_onnx import is_onnx_file
from nbqnn_train.quant.estimators import estimator
from nbqnn_train.user_code import located

__all__ = [
    "TrainConfig",
    "config_table",
    "merge_config",
    "read_config",
]

#: Tables of a run's configuration that say where it came from; they are not options.
_RECORDS = ("data", "model", "network", "source", "versions")
#: Options of earlier runs by their names of today.
_RENAMED = {"lambda_power": "blend_power"}
_PATHS = ("data_dir", "pretrained", "teacher")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainOptions):
    """The options of one training, checked; see :class:`nbqnn_train.learn.options.TrainOptions`.

    A model or data set in a file gets the file's absolute path, so that it is found from any
    folder. How layers are quantized is said by :class:`nbqnn_train.quant.config.QuantConfig`.
    """

    def __post_init__(self):
        self._check_kinds()
        for name in ("model", "teacher_model", "data"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, located(getattr(self, name)))
        check_model(self.model)
        if self.teacher_model is not None:
            check_model(self.teacher_model)
            if self.teacher is None:
                raise NbqnnError(f"Teacher's weights must be given for {self.teacher_model!r}")
        check_data(self.data)
        self.quant_config()
        for option in fields(self):
            _check_value(option, getattr(self, option.name))
        processes = self.devices * self.nodes
        if processes > 1 and estimator(self.estimator).apart:
            raise NbqnnError(
                f"Estimator {self.estimator!r} must be trained by one process, not {processes}"
            )
        if self.patience is not None and not self.validation:
            raise NbqnnError("Validation images must be held out for patience, not 0")
        if self.patience is not None and self.weight_average:
            raise NbqnnError(
                f"Weight average must be 0 with patience, not {self.weight_average!r}: the weights "
                "of the best epoch are kept, and they are no average"
            )
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
            input_bits=self.input_bits,
            output_bits=self.output_bits,
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
        trained = self.pretrained is not None or is_onnx_file(self.model)
        taught = self.teacher is not None
        return recipe(self.data, fine_tune=trained, taught=taught, **given)


#: What the annotation of an option contains -> how to say it, and Python's types for it.
_KINDS = {
    "Mapping": ("a table", Mapping),
    "Path": ("a path", (str, Path)),
    "bool": ("true or false", bool),
    "float": ("a number", (int, float)),
    "int": ("an integer", int),
    "str": ("text", str),
}


def _check_value(option: Field, value: object) -> None:
    """Raises :class:`NbqnnError` unless a value is in its option's range or one of its choices."""
    known = option.metadata.get("option")
    if known is None or value is None:
        return
    if known.range is not None and value not in known.range:
        raise NbqnnError(f"{_words(option.name)} must be {known.range}, not {value!r}")
    if known.choices is not None and value not in known.choices:
        choices = ", ".join(known.choices)
        raise NbqnnError(f"{_words(option.name)} must be one of {choices}, not {value!r}")


def _words(name: str) -> str:
    first, *others = name.split("_")
    return " ".join(["learning rate" if first == "lr" else first, *others]).capitalize()


def config_table(config: TrainConfig) -> dict:
    """The options that were given, as the table ``[train]`` has them."""
    values = _given(asdict(config))
    overrides = {pattern: _given(changes) for pattern, changes in values.pop("overrides").items()}
    return values | ({"overrides": overrides} if overrides else {})


def _given(values: Mapping) -> dict:
    """What TOML holds of ``values``: None is left out, paths are text."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None
    }


def _read_table(path: Path) -> dict:
    """The table ``[train]`` of a file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NbqnnError(f"{path} must be a configuration: {error}") from None
    for name in tables:
        if name not in ("train", *_RECORDS):
            raise NbqnnError(f"{path}: options must be in the table [train], not at {name!r}")
    table = tables.get("train")
    if not isinstance(table, dict):
        raise NbqnnError(f"{path} must be a configuration: it has no table [train]")
    known = {option.name for option in fields(TrainConfig)}
    table = {_RENAMED.get(name, name): value for name, value in table.items()}
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
