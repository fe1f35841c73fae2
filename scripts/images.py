"""Inputs of networks in ``.npy`` files."""

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["read_images", "read_inputs"]

#: What a damaged header raises: NumPy parses it as Python.
_DAMAGED = (
    *(ValueError, SyntaxError, TypeError, TokenError, RuntimeError, MemoryError, ArithmeticError),
)
#: What a damaged archive raises beside that. A way to compress that is not known is a RuntimeError.
_DAMAGED_ARCHIVE = (*_DAMAGED, EOFError, zipfile.BadZipFile, zlib.error)


def read_inputs(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Like :func:`read_images`, also for ``.npz`` files, which hold an array by the name of each
    input.

    Raises :exc:`NbqnnError` for any other file. Nothing in it is unpickled.
    """
    if path.suffix != ".npz":
        return read_images(path)
    try:
        # NumPy would leave a file open whose archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        reason = error.strerror or "it is no archive of arrays"
        raise NbqnnError(f"images {str(path)!r} cannot be read: {reason}") from None
    except _DAMAGED_ARCHIVE:
        raise NbqnnError(f"images {str(path)!r} must be a complete .npz file of numbers") from None
    for name, given in arrays.items():
        if not isinstance(given, np.ndarray):  # NumPy gives the bytes of any other file
            raise NbqnnError(
                f"file {name!r} in {str(path)!r} must be a .npy file, as numpy.savez writes them"
            )
        images = arrays[name] = _in_this_byte_order(given)
        if images.dtype != np.float32 or images.ndim == 0 or 0 in images.shape:
            raise NbqnnError(
                f"images {name!r} in {str(path)!r} must be float32 with an axis of images in "
                f"front, not {images.dtype} {tuple(images.shape)}"
            )
        if not np.isfinite(images).all():
            raise NbqnnError(
                f"images {name!r} in {str(path)!r} must be finite numbers, not NaN or infinite"
            )
    return arrays


def _in_this_byte_order(array: np.ndarray) -> np.ndarray:
    """The same numbers: a file may come from a machine with the other order."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_images(path: Path, single: tuple[int, ...] | None = None) -> np.ndarray:
    """The float32 array in the file ``path``: images (N, C, H, W), series (N, C, L) or vectors
    (N, F).

    single : shape of one input. An array of this shape is accepted, too.

    Raises :exc:`NbqnnError` for any other file. Nothing in it is unpickled.
    """
    try:
        # The file is mapped. So a header that promises more than the file holds reserves no memory.
        with np.errstate(over="raise"):  # of a product of lengths
            images = np.array(np.lib.format.open_memmap(path, mode="r"))
    except OSError as error:
        raise NbqnnError(f"images {str(path)!r} cannot be read: {error.strerror}") from None
    except _DAMAGED:
        raise NbqnnError(f"images {str(path)!r} must be a complete .npy file of numbers") from None
    images = _in_this_byte_order(images)
    fits = single is not None and images.shape == single
    if images.dtype != np.float32 or not (fits or images.ndim in (2, 3, 4)) or 0 in images.shape:
        units = "; remedy: the units in which the network was trained, as np.float32"
        if images.dtype == np.float32 or images.dtype.kind not in "uif":
            units = ""
        raise NbqnnError(
            f"images {str(path)!r} must be float32 (N, C, H, W), (N, C, L) or (N, F), "
            f"not {images.dtype} {tuple(images.shape)}{units}"
        )
    if not np.isfinite(images).all():
        raise NbqnnError(f"images {str(path)!r} must be finite numbers, not NaN or infinite")
    return images
