"""Which data sets there are."""

from collections.abc import Callable
from pathlib import Path

from nbqnn_train.data.cifar import cifar10, cifar100
from nbqnn_train.data.custom import custom_data
from nbqnn_train.data.digits import digits
from nbqnn_train.data.folders import folder
from nbqnn_train.data.images import DataSets
from nbqnn_train.data.mnist import fashion_mnist, mnist
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.user_code import is_user_name

__all__ = ["DATA", "check_data", "load_data"]

#: Each takes the folder with the files, or None.
DATA: dict[str, Callable[[Path | None], DataSets]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "folder": folder,
    "mnist": mnist,
}


def check_data(name: str) -> None:
    """Raises :class:`NbqnnError` unless there is a data set called ``name``."""
    if name not in DATA and not is_user_name(name):
        raise NbqnnError(
            f"Data set must be one of {', '.join(sorted(DATA))}, FILE.py:function or "
            f"module:function, not {name!r}"
        )


def load_data(name: str, data_dir: Path | None = None) -> DataSets:
    """The data set called ``name``, read from ``data_dir`` where it is not part of a package.

    Raises :class:`NbqnnError` for unknown names and for files that are missing or damaged.
    """
    check_data(name)
    load = DATA[name] if name in DATA else custom_data(name)
    return load(None if data_dir is None else Path(data_dir))
