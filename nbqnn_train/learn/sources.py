"""Where a run's own model came from, so that it is found again, or its change noticed."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.custom import model_function
from nbqnn_train.user_code import file_digest, is_user_name, search

__all__ = ["ModelSource", "keep_source", "model_source", "read_source"]

#: The source as it was, in the run's folder.
_COPY = "model.py"


@dataclass(frozen=True)
class ModelSource:
    """The file that a user's model was read from.

    file : its absolute path. folder : in which Python found it. sha256 : of its content, then.
    """

    file: str
    folder: str
    sha256: str

    def table(self) -> dict[str, str]:
        return asdict(self)

    def check(self, run: Path, model: str) -> None:
        """Raises :class:`NbqnnError` where the file is gone or another one; lets Python find it.

        run : the folder of the run. model : the model's name.
        """
        file = Path(self.file)
        if not file.is_file():
            found = "it is gone"
        elif file_digest(file) != self.sha256:
            found = "it has changed since"
        else:
            search(Path(self.folder))
            return
        raise NbqnnError(
            f"Model {model!r} of {str(run)!r} must be as it was trained, and {self.file} is not: "
            f"{found}; remedy: put {run / _COPY} in its place, which is that version"
        )


def model_source(model: str) -> ModelSource | None:
    """The source of a user's own model; None for the package's own, and for one without a file."""
    if not is_user_name(model):
        return None
    function = model_function(model)
    if function.file is None or function.file.suffix != ".py":
        return None
    return ModelSource(str(function.file), str(function.folder), function.digest())


def keep_source(run: Path, source: ModelSource) -> None:
    """Puts a copy of the source into the folder of a run."""
    shutil.copyfile(source.file, run / _COPY)


def read_source(config: Path, table: object) -> ModelSource | None:
    """The source that a run's configuration file names in its table ``[model]``."""
    if table is None:
        return None
    names = ModelSource.__dataclass_fields__
    if (
        not isinstance(table, dict)
        or table.keys() != names.keys()
        or not all(isinstance(value, str) for value in table.values())
    ):
        raise NbqnnError(f"{config} must give {', '.join(names)} under [model]")
    return ModelSource(**table)
