"""Images in ``.npy`` files."""

from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["read_images"]


def read_images(path: Path) -> np.ndarray:
    """The float32 array (N, C, H, W) in the file ``path``.

    Raises :exc:`NbqnnError` if it is no such file. Nothing in it is unpickled.
    """
    try:
        # Mapped, so that a header that promises more than the file holds reserves no memory.
        images = np.array(np.lib.format.open_memmap(path, mode="r"))
    except OSError as error:
        raise NbqnnError(f"images {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise NbqnnError(f"images {str(path)!r} must be a complete .npy file of numbers") from None
    if images.dtype != np.float32 or images.ndim != 4 or 0 in images.shape:
        raise NbqnnError(
            f"images {str(path)!r} must be float32 (N, C, H, W), "
            f"not {images.dtype} {tuple(images.shape)}"
        )
    if not np.isfinite(images).all():
        raise NbqnnError(f"images {str(path)!r} must be finite numbers, not NaN or infinite")
    return images
