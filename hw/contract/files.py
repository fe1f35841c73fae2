"""Output files: written beside their final place and renamed into it, so never half there."""

import os
import tempfile
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Puts ``text`` in the file ``path``, making its folder; an existing file is replaced at once.

    Raises :exc:`NbqnnError` if the place cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise NbqnnError(f"file {str(path)!r} cannot be written: {error.strerror}") from None
    temporary = Path(temporary)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        # mkstemp's files are for their owner alone; outputs are as readable as any other file.
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise NbqnnError(f"file {str(path)!r} cannot be written: {error.strerror}") from None
    finally:
        # Gone if it was renamed.
        temporary.unlink(missing_ok=True)
