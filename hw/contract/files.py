"""Output files of text that belong together, written at once."""

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
    """Puts texts, or bytes, in files of a folder, by their paths in it; they belong together.

    All are written beside their places first. If that fails, nothing in the folder has changed.
    They are then renamed into their places in order, one writer of the folder at a time. A kill in
    between leaves whole files: the first ones new, the last ones as they were.

    Returns the files. Raises :exc:`NbqnnError` if the folder cannot be written to.
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
    """Waits for others who are in here with the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
