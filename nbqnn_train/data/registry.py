"""Which data sets there are."""

from collections.abc import Callable
from pathlib import Path

from nbqnn_train.data.digits import digits
from nbqnn_train.data.images import DataSets
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["DATA", "check_data", "load_data"]

#: Each takes the folder with the files, or None.
DATA: dict[str, Callable[[Path | None], DataSets]] = {
    "digits": digits,
}


def check_data(name: str) -> None:
    """Raises :class:`NbqnnError` unless there is a data set called ``name``."""
    if name not in DATA:
        raise NbqnnError(f"Data set must be one of {', '.join(sorted(DATA))}, not {name!r}")


def load_data(name: str, data_dir: Path | None = None) -> DataSets:
    """The data set called ``name``, read from ``data_dir`` where it is not part of a package."""
    check_data(name)
    return DATA[name](data_dir)
