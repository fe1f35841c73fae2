"""Everything that decides what a training does."""

import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from nbqnn_train.convert import QuantConfig
from nbqnn_train.data import check_data
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models import check_model
from nbqnn_train.recipes import OPTIMIZERS, Recipe, recipe

__all__ = ["PRECISIONS", "TrainConfig", "config_toml", "read_config", "toml_table"]

#: Names of Lightning's plugins.
PRECISIONS = ("32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of one training; None takes the default of the data set (:mod:`nbqnn_train.recipes`).

    model, data : names; see :mod:`nbqnn_train.models` and :mod:`nbqnn_train.data`.
    data_dir : folder with the data set's files.
    bits : of weights, 2 ... 6. act_bits : of activations, 2 ... 16.
    estimator : see :mod:`nbqnn_train.quant.estimators`.
    requant_mode : "shift" or "scale".
    pretrained : file of full-precision weights to begin with.
    teacher : file of full-precision weights of the same model, to distil from.
    precision : of the arithmetic while training, see ``PRECISIONS``; evaluation is always exact.
    accumulate : batches whose gradients are added up for one step.
    """

    model: str
    data: str
    data_dir: Path | None = None
    bits: int = 3
    act_bits: int = 8
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    optimizer: str | None = None
    seed: int = 0
    estimator: str = "reconstructed"
    requant_mode: str = "shift"
    pretrained: Path | None = None
    teacher: Path | None = None
    precision: str = "32"
    accumulate: int = 1

    def __post_init__(self):
        check_model(self.model)
        check_data(self.data)
        self.quant_config()
        if self.precision not in PRECISIONS:
            raise NbqnnError(
                f"Precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}"
            )
        for name in ("epochs", "batch_size", "accumulate"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise NbqnnError(f"{_words(name)} must be at least 1, not {value!r}")
        if self.lr is not None and not (0 < self.lr < math.inf):
            raise NbqnnError(f"Learning rate must be positive, not {self.lr!r}")
        if self.weight_decay is not None and not (0 <= self.weight_decay < math.inf):
            raise NbqnnError(f"Weight decay must not be negative, not {self.weight_decay!r}")
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise NbqnnError(
                f"Optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 32:
            raise NbqnnError(f"Seed must be in 0..{(1 << 32) - 1}, not {self.seed!r}")
        for name in ("data_dir", "pretrained", "teacher"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Path(value))

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
            estimator=self.estimator,
            requant_mode=self.requant_mode,
        )

    def recipe(self) -> Recipe:
        """The data set's recipe with the options that were given."""
        given = {
            field.name: getattr(self, field.name)
            for field in fields(Recipe)
            if getattr(self, field.name, None) is not None
        }
        return recipe(self.data, fine_tune=self.pretrained is not None, **given)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def toml_table(values: dict) -> str:
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
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            text = f'"{escaped}"'
        lines.append(f"{name} = {text}\n")
    return "".join(lines)


def config_toml(config: TrainConfig) -> str:
    """The options that were given."""
    return toml_table(asdict(config))


def read_config(path: Path) -> TrainConfig:
    """The options in the ``[train]`` table of a run's ``config.toml``.

    Files and folders that it names need not exist any more: what it describes has been read
    already.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["train"]
        known = {field.name for field in fields(TrainConfig)}
        for name in table:
            if name not in known:
                raise NbqnnError(
                    f"{path}: option must be one of {', '.join(sorted(known))}, not {name!r}"
                )
        return TrainConfig(**table)
    except NbqnnError as error:
        raise NbqnnError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise NbqnnError(f"{path} must be the configuration of a run: {error}") from None
