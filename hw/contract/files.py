"""Output files of text, with the folders that they lie in."""

from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.files import write_file

__all__ = ["make_folder", "write_text"]


def make_folder(path: Path, what: str = "file", error: type[NbqnnError] = NbqnnError) -> None:
    """Makes the folder of the file ``path``. Raises ``error`` if that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise error(f"{what} {str(path)!r} cannot be written: {failure.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Puts ``text`` in the file ``path``, making its folder; an existing file is replaced at once.

    Raises :exc:`NbqnnError` if the place cannot be written to.
    """
    path, data = Path(path), text.encode()
    make_folder(path)
    write_file(path, data)
