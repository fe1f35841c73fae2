"""Labelled images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["DataSets", "ImageSet", "LabelledImages", "normalized"]


class LabelledImages(Protocol):
    """What training and evaluation ask of images, wherever they are kept.

    labels : (N,), int64. shape : (C, H, W) of one image.
    """

    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W)."""


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
        return len(self.pixels)

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W)."""
        return normalized(self.pixels[indices], self.mean, self.scale)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.pixels.shape[1:]


def normalized(pixels: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """``(pixels - mean) * scale`` per channel: float32 (n, C, H, W)."""
    shape = (-1, 1, 1)
    return (pixels.astype(np.float32) - mean.reshape(shape)) * scale.reshape(shape)


@dataclass(frozen=True)
class DataSets:
    """The training and the test images of one data set.

    input_shape : (C, H, W)
    margin : pixels by which training images are moved, at most; half of them are mirrored. None for
        images that may not be mirrored.
    validation : images held out of the training images, or None.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    input_shape: tuple[int, int, int]
    classes: int
    margin: int | None = None
    validation: LabelledImages | None = None

    def __post_init__(self):
        for what, images in (("training", self.train), ("test", self.test)):
            self._check(what, images)

    def _check(self, what: str, images: LabelledImages) -> None:
        if not len(images):
            raise NbqnnError(f"Data set {self.name!r} must have {what} images, not none")
        if images.shape != self.input_shape:
            raise NbqnnError(
                f"Data set {self.name!r}: {what} images must have shape {self.input_shape}, "
                f"not {images.shape}"
            )
        if len(images) != len(images.labels):
            raise NbqnnError(
                f"Data set {self.name!r} must have one label for each of {len(images)} "
                f"{what} images, not {len(images.labels)}"
            )
        outside = (images.labels < 0) | (images.labels >= self.classes)
        if outside.any():
            raise NbqnnError(
                f"Data set {self.name!r}: {what} labels must be in 0..{self.classes - 1}, "
                f"not {int(images.labels[outside][0])}"
            )
