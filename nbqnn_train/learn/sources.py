"""Where a run's own model and data came from, so that they are found again, or a change noticed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_file
from nbqnn_train.models.from_onnx import is_onnx_file, whole_model
from nbqnn_train.user_code import is_user_name, load_function, search

__all__ = ["Source", "data_source", "keep_source", "model_source", "read_source"]

_WHAT = {"model": "Model", "data": "Data set"}


@dataclass(frozen=True)
class Source:
    """The file that a user's model or data set was read from.

    kind : "model" or "data": the name, without the suffix, of the copy in a run's folder.
    file : its absolute path. folder : in which Python found it. sha256 : of its content, then; of
        an ONNX file with the data that lie beside it.
    """

    kind: str
    file: str
    folder: str
    sha256: str

    def table(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in _RECORDED}

    def check(self, run: Path, name: str) -> None:
        """Raises :class:`NbqnnError` if the file is gone or has changed. Else Python finds it from
        now on.

        run : the folder of the run. name : the model's, or that of the data set.
        """
        file = Path(self.file)
        if not file.is_file():
            found = "it is gone"
        elif _digest(file) != self.sha256:
            found = "it has changed since"
        else:
            search(Path(self.folder))
            return
        raise NbqnnError(
            f"{_WHAT[self.kind]} {name!r} of {str(run)!r} must be as it was trained, and "
            f"{self.file} is not: {found}; remedy: put {self.copy(run)} in its place, which is "
            "that version"
        )

    def copy(self, run: Path) -> Path:
        """Where the run has the file as it was."""
        return run / (self.kind + Path(self.file).suffix)


#: What a run's configuration says of a source.
_RECORDED = ("file", "folder", "sha256")


def model_source(model: str) -> Source | None:
    """The source of a user's own model; None for the package's own, and for one without a file."""
    if is_onnx_file(model):
        file = Path(model).absolute()
        return Source("model", str(file), str(file.parent), _digest(file))
    return _function_source("model", model)


def data_source(data: str) -> Source | None:
    """The source of a user's own data set; None for the package's own, and for one without a file.

    It is the file with the function; what the function reads is not looked at.
    """
    return _function_source("data", data)


def _function_source(kind: str, name: str) -> Source | None:
    if not is_user_name(name):
        return None
    function = load_function(name, _WHAT[kind])
    if function.file is None or function.file.suffix != ".py":
        return None
    return Source(kind, str(function.file), str(function.folder), _digest(function.file))


def keep_source(run: Path, source: Source) -> None:
    """Puts a copy of the source into the folder of a run."""
    write_file(source.copy(run), _content(Path(source.file)))


def _content(file: Path) -> bytes:
    return whole_model(file) if is_onnx_file(file.name) else file.read_bytes()


def _digest(file: Path) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(_content(file)).hexdigest()


def read_source(config: Path, kind: str, table: object) -> Source | None:
    """The source that a run's configuration file names in its table ``[kind]``."""
    if table is None:
        return None
    if (
        not isinstance(table, dict)
        or table.keys() != set(_RECORDED)
        or not all(isinstance(value, str) for value in table.values())
    ):
        raise NbqnnError(f"{config} must give {', '.join(_RECORDED)} under [{kind}]")
    return Source(kind, **table)
