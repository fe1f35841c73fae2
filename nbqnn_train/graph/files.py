"""Output files. They are written beside their final place and renamed, so none is ever
incomplete."""

import os
import tempfile
from pathlib import Path

from .errors import NbqnnError

__all__ = ["make_folder", "write_file", "write_text"]


def _stream(path: Path) -> Path | int | None:
    """What to write to where ``path`` is a pipe or a device, or stands for a file that this process
    has open, such as ``/dev/stdout``; None where it is any other file."""
    named = path.parent / path.readlink() if path.is_symlink() else path
    if os.path.realpath(named.parent) == f"/proc/{os.getpid()}/fd" and named.name.isdigit():
        return int(named.name)
    return path if path.exists() and not (path.is_file() or path.is_dir()) else None


def make_folder(path: Path, what: str = "file", error: type[NbqnnError] = NbqnnError) -> None:
    """Makes the folder of the file ``path``. Raises ``error`` if it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise error(f"{what} {str(path)!r} cannot be written: {failure.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Puts ``text`` in the file ``path``, making its folder; an existing file is replaced at once.

    Raises :exc:`NbqnnError` if the place cannot be written to.
    """
    path = Path(path)
    make_folder(path)
    write_file(path, text.encode())


def write_file(
    path: str | os.PathLike, data: bytes, what: str = "file", error: type[NbqnnError] = NbqnnError
) -> None:
    """Puts ``data`` in the file ``path``. An existing file is replaced at once.

    What a link leads to is replaced, not the link. A pipe or device stays one: ``/dev/stdout``.

    Raises ``error`` if the place cannot be written to; ``what`` says what is written there.
    """
    path = Path(path)
    temporary = None
    try:
        stream = _stream(path)
        if stream is not None:
            with open(stream, "wb", closefd=not isinstance(stream, int)) as file:
                file.write(data)
            return
        place = Path(os.path.realpath(path))
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        # Only the owner can read mkstemp's files; outputs get the permissions of any other file.
        temporary.chmod(0o666 & ~umask)
        temporary.replace(place)
    except OSError as failure:
        raise error(f"{what} {str(path)!r} cannot be written: {failure.strerror}") from None
    finally:
        # After renaming there is nothing to delete.
        if temporary is not None:
            temporary.unlink(missing_ok=True)
