"""Reads files in the idx format of MNIST, compressed with gzip or not."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["find_idx", "read_idx"]

#: The element type "unsigned byte" in the third byte of the magic number.
_UINT8 = 8
#: No data set read here is larger; a corrupt header cannot ask for more memory.
_MAX_BYTES = 1 << 30


def find_idx(folder: Path, name: str) -> Path:
    """``folder/name`` or ``folder/name.gz``, whichever exists."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise NbqnnError(f"Data folder must hold {name} or {name}.gz, unlike {str(folder)!r}")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The unsigned bytes of an idx file with that many dimensions.

    Raises :class:`NbqnnError` where the file is damaged, truncated or of another kind.
    """
    header = struct.Struct(f">4B{dimensions}I")
    try:
        with _open(path) as file:
            start = file.read(header.size)
            if len(start) < header.size:
                raise NbqnnError(f"{path} must be an idx file; it has only {len(start)} bytes")
            zero, zero2, kind, rank, *shape = header.unpack(start)
            if (zero, zero2, kind, rank) != (0, 0, _UINT8, dimensions):
                raise NbqnnError(
                    f"{path} must be an idx file of unsigned bytes with {dimensions} dimensions, "
                    f"not begin with {start[:4].hex()}"
                )
            size = math.prod(shape)
            # NumPy looks at the other lengths where one is 0, too.
            if math.prod(max(1, length) for length in shape) > _MAX_BYTES:
                raise NbqnnError(
                    f"{path} must hold at most {_MAX_BYTES} bytes, not shape {tuple(shape)}"
                )
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NbqnnError(f"{path} must be a readable idx file: {error}") from None
    if len(content) != size:
        more = "more" if len(content) > size else len(content)
        raise NbqnnError(f"{path} must hold {size} bytes of shape {tuple(shape)}, not {more}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _open(path: Path):
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
