"""Writes output files that belong together."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import make_folder, write_text

__all__ = ["make_folder", "write_text", "write_texts"]


def write_texts(folder: Path, texts: Mapping[str, str | bytes]) -> list[Path]:
    """Writes files that belong together to a folder: path in the folder -> text or bytes.

    All files are written under temporary names first. If that fails, nothing in the folder has
    changed. Then they are renamed in order, by one writer of the folder at a time. A process that
    is killed in between leaves whole files: the first ones new, the last ones old.

    Returns the files' paths. Raises :exc:`NbqnnError` if the folder cannot be written to.
    """
    folder = Path(folder)
    files = {folder / name: text for name, text in texts.items()}
    for path in files:
        make_folder(path)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing.") as beside:
            written = []
            for index, (path, text) in enumerate(files.items()):
                written.append((Path(beside, str(index)), path))
                written[-1][0].write_bytes(text.encode() if isinstance(text, str) else text)
            with _alone(folder):
                for source, path in written:
                    source.replace(path)
    except OSError as error:
        raise NbqnnError(f"folder {str(folder)!r} cannot be written: {error.strerror}") from None
    return list(files)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps out other writers of the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
