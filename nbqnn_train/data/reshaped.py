"""Images of a data set in the shape of a graph's input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbqnn_train.data.images import LabelledImages
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.shapes import same_order

__all__ = ["in_shape"]


def in_shape(images: LabelledImages, shape: tuple[int, ...]) -> LabelledImages:
    """``images`` as inputs of ``shape``: series (C, L) are maps (C, 1, L).

    Raises :class:`NbqnnError` if they are of another shape.
    """
    if images.shape == shape:
        return images
    if not same_order(images.shape, shape):
        raise NbqnnError(f"Images must have shape {shape}, not {images.shape}")
    return _Reshaped(images, shape)


@dataclass(frozen=True)
class _Reshaped:
    whole: LabelledImages
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def labels(self) -> np.ndarray:
        return self.whole.labels

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        images = self.whole.images(indices)
        return images.reshape(len(images), *self.shape)
