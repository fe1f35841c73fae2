"""Labelled images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.inputs.preparation import Preparation

__all__ = ["DataSets", "ImageSet", "LabelledImages", "normalized"]

#: More classes are rather numbers that were taken for labels.
_MOST_CLASSES = 1 << 20


class LabelledImages(Protocol):
    """What training and evaluation ask of images, wherever they are kept.

    labels : (N,), int64. shape : (C, H, W) of one image, (C, L) of a series, (F,) of a vector.
    """

    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W), (n, C, L) or (n, F)."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels; series (N, C, L) and vectors (N, F) too.

    pixels : (N, C, H, W), uint8 or finite floats, as stored.
    labels : (N,), int64, 0 ... classes - 1; other integers and a column (N, 1) become that.
    mean, scale : (C,) float32, scale other than 0; a network sees ``(pixels - mean) * scale``.
    white : the pixels' value for white, to which ``nbqnn predict`` scales image files of 8 bits.
        None stands for 255 with uint8. With floats it says that white is not known.
    """

    pixels: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    white: float | None = None

    def __post_init__(self):
        for name, value in (
            ("pixels", _checked_pixels(np.asarray(self.pixels))),
            ("labels", _checked_labels(np.asarray(self.labels))),
        ):
            object.__setattr__(self, name, value)
        for name in ("mean", "scale"):
            value = np.asarray(getattr(self, name), np.float32).reshape(-1)
            good = np.isfinite(value) & ((name == "mean") | (value != 0))
            if value.size not in (1, self.pixels.shape[1]) or not good.all():
                other = "" if name == "mean" else " other than 0"
                raise NbqnnError(
                    f"{name.capitalize()} must be one finite number{other} for each of "
                    f"{self.pixels.shape[1]} channels, not {value.tolist()!r:.80}"
                )
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W), or as the pixels are."""
        return normalized(self.pixels[indices], self.mean, self.scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return self.pixels.shape[1:]

    @property
    def preparation(self) -> Preparation | None:
        """How an image file becomes what a network sees; None where that is not known."""
        white = self.white or (255 if self.pixels.dtype == np.uint8 else None)
        if white is None or len(self.shape) != 3:
            return None
        mean, scale = (
            tuple(np.broadcast_to(values, self.shape[0]).tolist())
            for values in (self.mean, self.scale)
        )
        return Preparation(mean=mean, scale=scale, white=white)


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise NbqnnError(
            f"Pixels must be uint8 or floats, not {pixels.dtype}; remedy: .astype(np.float32)"
        )
    if pixels.ndim not in (2, 3, 4):
        raise NbqnnError(
            "Pixels must be images (N, C, H, W), series (N, C, L) or vectors (N, F), "
            f"not {pixels.shape}"
        )
    if pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(pixels.astype(np.float32, copy=False))
        if not finite.all():
            at = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise NbqnnError(f"Pixels must be finite in float32, not {pixels[at]} at {list(at)}")
    return pixels


def _checked_labels(labels: np.ndarray) -> np.ndarray:
    """Labels as (N,) int64, where they are class numbers in another integer type or a column."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; remedy: labels.argmax(axis=1) if they are one-hot" if labels.ndim == 2 else ""
        raise NbqnnError(f"Labels must be class numbers (N,), not of shape {labels.shape}{hint}")
    if labels.dtype.kind not in "iu":
        raise NbqnnError(
            f"Labels must be integers, not {labels.dtype}; remedy: labels.astype(np.int64) if "
            "they are class numbers"
        )
    return labels.astype(np.int64, copy=False)


def normalized(pixels: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """``(pixels - mean) * scale`` per channel: float32 (n, C, H, W), or as the pixels are."""
    shape = (-1,) + (1,) * (pixels.ndim - 2)
    return (pixels.astype(np.float32) - mean.reshape(shape)) * scale.reshape(shape)


@dataclass(frozen=True)
class DataSets:
    """The training and the test images of one data set.

    input_shape : (C, H, W), (C, L) or (F,).
    classes : labels are 0 ... classes - 1.
    margin : training images are mirrored half of the time and moved by up to so many pixels;
        None for images that may not be mirrored.
    validation : images held out of the training images, or None.
    class_names : what the classes are called, in order; None where they have no names.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    input_shape: tuple[int, ...]
    classes: int
    margin: int | None = None
    validation: LabelledImages | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        if not isinstance(self.classes, int | np.integer) or not (
            1 <= self.classes <= _MOST_CLASSES
        ):
            raise NbqnnError(
                f"Data set {self.name!r} must have 1..{_MOST_CLASSES} classes, not {self.classes!r}"
            )
        if self.margin is not None and (
            not isinstance(self.margin, int) or self.margin < 0 or len(self.input_shape) != 3
        ):
            raise NbqnnError(
                f"Data set {self.name!r}: margin must be None, or pixels of images, "
                f"not {self.margin!r} for inputs of shape {self.input_shape}"
            )
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise NbqnnError(
                f"Data set {self.name!r} must have a name for each of {self.classes} classes, "
                f"not {len(self.class_names)}"
            )
        for what, images in (("training", self.train), ("test", self.test)):
            self._check(what, images)

    def _check(self, what: str, images: LabelledImages) -> None:
        if not len(images):
            raise NbqnnError(f"Data set {self.name!r} must have {what} images, not none")
        if tuple(images.shape) != self.input_shape:
            raise NbqnnError(
                f"Data set {self.name!r}: {what} images must have shape {self.input_shape}, "
                f"not {images.shape}"
            )
        labels = images.labels
        if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 1:
            kind = getattr(labels, "dtype", type(labels).__name__)
            raise NbqnnError(
                f"Data set {self.name!r}: {what} labels must be an int64 array (N,), not "
                f"{kind} {getattr(labels, 'shape', '')}".rstrip()
            )
        if len(images) != len(labels):
            raise NbqnnError(
                f"Data set {self.name!r} must have one label for each of {len(images)} "
                f"{what} images, not {len(labels)}"
            )
        outside = (labels < 0) | (labels >= self.classes)
        if outside.any():
            raise NbqnnError(
                f"Data set {self.name!r}: {what} labels must be in 0..{self.classes - 1}, "
                f"not {int(labels[outside][0])}"
            )
