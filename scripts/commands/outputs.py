"""Files and folders that commands write: checked before the work begins."""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from nbqnn_train.graph.errors import NbqnnError
from scripts.output import console

__all__ = ["Command", "output_file", "output_folder"]

_STDOUT = "/dev/stdout"
#: Where a command's context keeps the files that it will write.
_OUTPUTS = "nbqnn.outputs"


def output_file(
    context: typer.Context, option: typer.CallbackParam, path: Path | None
) -> Path | None:
    """The place of a result, checked before the work begins: its folder exists, and it is no
    folder. A :class:`Command` also checks that it is none of the other files.

    ``--json -`` is standard output, as ``/dev/stdout`` is. It then holds nothing else: what the
    command would print there goes to standard error.
    """
    if path is None:
        return None
    if option.name == "json" and str(path) in ("-", _STDOUT):
        path = Path(_STDOUT)
        console.stderr = True
    if not path.parent.is_dir():
        raise NbqnnError(f"file {str(path)!r} must be in a folder that exists")
    if path.is_dir():
        raise NbqnnError(f"file {str(path)!r} cannot be written: it is a folder")
    special = path.exists() and not path.is_file()  # a pipe, or /dev/null
    _check_access("file", path, path if special else path.parent)
    context.meta.setdefault(_OUTPUTS, {})[option.name] = Path(path)
    return path


def output_folder(path: Path) -> Path:
    """The place of a folder, checked before the work begins: it can be made and written to."""
    nearest = next(
        place for place in (path, *path.absolute().parents) if place.exists() or place.is_symlink()
    )
    if not nearest.exists():
        raise NbqnnError(
            f"folder {str(path)!r} cannot be written: {str(nearest)!r} is a link that leads nowhere"
        )
    if not nearest.is_dir():
        raise NbqnnError(f"folder {str(path)!r} cannot be written: {str(nearest)!r} is a file")
    _check_access("folder", path, nearest)
    return path


def _check_access(what: str, path: Path, place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise NbqnnError(f"{what} {str(path)!r} cannot be written: {str(place)!r} is read-only")


class Command(TyperCommand):
    """A command that does not write over what it reads, nor two results to one file.

    An argument that is empty is refused. ``~`` at the beginning of a path is the user's home, also
    where no shell has seen it, as in ``--out=~/run``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for before, argument in pairwise(["", *args]):
            # As a variable of the shell that is not set; as a path it would be this folder.
            if not re.fullmatch(r"(--[\w-]+=)?", argument):
                continue
            option = argument.rstrip("=") or before
            of = f" of {option}" if option.startswith("-") else ""
            raise NbqnnError(f"the argument{of} must not be empty")
        return super().parse_args(ctx, [_at_home(argument) for argument in args])

    def invoke(self, ctx: Any) -> Any:
        outputs = ctx.meta.get(_OUTPUTS, {})
        written = set()
        for path in outputs.values():
            place = path.resolve()
            if place in written:
                raise NbqnnError(f"file {str(path)!r} must be given for one result, not for two")
            written.add(place)
        for given in _files(v for name, v in ctx.params.items() if name not in outputs):
            if given.resolve() in written:
                raise NbqnnError(f"file {str(given)!r} must not be written over: it is read")
        return super().invoke(ctx)


def _at_home(argument: str) -> str:
    option, path = re.fullmatch(r"(--[\w-]+=)?(.*)", argument, re.DOTALL).groups()
    return (option or "") + (str(Path(path).expanduser()) if path.startswith("~/") else path)


def _files(values) -> list[Path]:
    """The files among arguments, also those of ``FILE.py:function``."""
    found: list[Path] = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _files(value)
        elif isinstance(value, (str, Path)):
            whole = str(value)
            names = dict.fromkeys((whole, whole.rpartition(":")[0]))
            found += [Path(name) for name in names if name and Path(name).is_file()]
    return found
