"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDirOption", "DataOption", "JsonOption"]

DataOption = Annotated[str, typer.Option("--data", help="Data set, for example digits.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder with the data set's files.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Also write the result to this file.")
]
