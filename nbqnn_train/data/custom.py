"""A user's own data: ``FILE.py:function`` or ``package.module:function``.

The function takes the folder of ``--data-dir``, a path or None, and returns the data sets::

    import numpy as np
    from nbqnn_train.data import DataSets, ImageSet

    def load(folder):
        mean, scale = np.zeros(3, np.float32), np.full(3, 1 / 255, np.float32)
        return DataSets(
            name="mine",
            train=ImageSet(train_pixels, train_labels, mean, scale),
            test=ImageSet(test_pixels, test_labels, mean, scale),
            input_shape=(3, 32, 32),
            classes=10,
        )

- pixels: (N, C, H, W), series (N, C, L) or vectors (N, F); uint8 or finite floats. The network sees
  ``(pixels - mean) * scale`` in float32, with ``mean`` and ``scale`` (C,) or a single number.
- labels: (N,) integers in 0 ... classes - 1, of any integer type; a column (N, 1) is taken as well.
  One-hot labels and floats are refused: ``labels.argmax(axis=1)``, ``labels.astype(np.int64)``.

:class:`~nbqnn_train.data.images.DataSets` says what else can be given: augmentation, names of the
classes. Images that do not fit in memory are any object with the members of
:class:`~nbqnn_train.data.images.LabelledImages`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nbqnn_train.data.images import DataSets, ImageSet, LabelledImages
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.inputs.preparation import Preparation
from nbqnn_train.user_code import load_function, told

__all__ = ["custom_data"]


def custom_data(name: str) -> Callable[[Path | None], DataSets]:
    """The function that ``name`` says: from the data folder to data sets.

    Raises :class:`NbqnnError` where there is none; so does the function where the user's raises.
    """
    function = load_function(name, "Data set")

    def load(data_dir: Path | None) -> DataSets:
        data = function(data_dir)
        if not isinstance(data, DataSets):
            raise NbqnnError(f"Data set {name!r} must return DataSets, not {type(data).__name__}")
        train, test = (
            images if isinstance(images, ImageSet) else _CheckedImages(name, images)
            for images in (data.train, data.test)
        )
        return replace(data, train=train, test=test)

    return load


@dataclass(frozen=True)
class _CheckedImages:
    """Images that a user's own object reads; what it raises or returns wrongly is one line."""

    name: str
    whole: LabelledImages

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def labels(self) -> np.ndarray:
        return self.whole.labels

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.whole.shape)

    @property
    def preparation(self) -> Preparation | None:
        return getattr(self.whole, "preparation", None)

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        try:
            images = self.whole.images(indices)
        except NbqnnError:
            raise
        except Exception as error:  # a user's code raises whatever it likes
            raise NbqnnError(f"Data set {self.name!r} raised {told(error)}") from error
        wanted = (len(np.arange(len(self))[indices]), *self.shape)
        if not isinstance(images, np.ndarray) or images.dtype != np.float32:
            kind = getattr(images, "dtype", type(images).__name__)
            raise NbqnnError(f"Data set {self.name!r}: images must be float32 arrays, not {kind}")
        if images.shape != wanted or not np.isfinite(images).all():
            found = "numbers that are not finite" if images.shape == wanted else images.shape
            raise NbqnnError(
                f"Data set {self.name!r}: images must be finite and of shape {wanted}, not {found}"
            )
        return images
