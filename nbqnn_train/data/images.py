"""Labelled images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["DataSets", "ImageSet"]


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels.

    pixels : (N, C, H, W), uint8 or float32, as stored.
    labels : (N,), int64, 0 ... classes - 1.
    mean, scale : (C,) float32; a network sees ``(pixels - mean) * scale``.
    """

    pixels: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W)."""
        return self.normalized(self.pixels[indices])

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        shape = (-1, 1, 1)
        mean, scale = self.mean.reshape(shape), self.scale.reshape(shape)
        return ((pixels.astype(np.float32) - mean) * scale).astype(np.float32)


@dataclass(frozen=True)
class DataSets:
    """The training and the test images of one data set.

    input_shape : (C, H, W)
    augment : whether training images are shifted and mirrored, for images that allow it.
    """

    name: str
    train: ImageSet
    test: ImageSet
    input_shape: tuple[int, int, int]
    classes: int
    augment: bool = False

    def __post_init__(self):
        for what, images in (("training", self.train), ("test", self.test)):
            self._check(what, images)

    def _check(self, what: str, images: ImageSet) -> None:
        if not len(images):
            raise NbqnnError(f"Data set {self.name!r} must have {what} images, not none")
        if images.pixels.shape[1:] != self.input_shape:
            raise NbqnnError(
                f"Data set {self.name!r}: {what} images must have shape {self.input_shape}, "
                f"not {images.pixels.shape[1:]}"
            )
        if len(images.pixels) != len(images.labels):
            raise NbqnnError(
                f"Data set {self.name!r} must have one label for each of {len(images.pixels)} "
                f"{what} images, not {len(images.labels)}"
            )
        outside = (images.labels < 0) | (images.labels >= self.classes)
        if outside.any():
            raise NbqnnError(
                f"Data set {self.name!r}: {what} labels must be in 0..{self.classes - 1}, "
                f"not {int(images.labels[outside][0])}"
            )
