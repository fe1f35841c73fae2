"""A user's own data: ``module:function``."""

import importlib
from collections.abc import Callable
from pathlib import Path

from nbqnn_train.data.images import DataSets
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["custom_data"]


def custom_data(name: str) -> Callable[[Path | None], DataSets]:
    """The function that ``module:function`` names: from the data folder to data sets."""
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise NbqnnError(f"Data set must be module:function, not {name!r}: {error}") from None

    def load(data_dir: Path | None) -> DataSets:
        data = function(data_dir)
        if not isinstance(data, DataSets):
            raise NbqnnError(f"{name} must return DataSets, not {type(data).__name__}")
        return data

    return load
