"""From a picture to what a network sees."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from nbqnn_train.graph.errors import NbqnnError

if TYPE_CHECKING:  # Pillow is there only with the extra for training
    from PIL import Image

__all__ = ["Preparation"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How image files become what a network sees: ``(pixels - mean) * scale`` per channel.

    mean, scale : one for each channel; a network with one channel sees grey pictures.
    white : the pixels' value for white; black is 0.
    enlarge : a picture is resized to this ratio (numerator, denominator), 1...8, times the smallest
        size that covers the network's input, and cut to its middle.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    white: float = 255
    enlarge: tuple[int, int] = (1, 1)

    def __post_init__(self):
        for name, values in (
            ("mean", self.mean),
            ("scale", self.scale),
            ("white", (self.white,)),
            ("enlarge", self.enlarge),
        ):
            if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
                raise NbqnnError(f"{name.capitalize()} must be finite numbers, not {values!r:.80}")
        if len(self.mean) != len(self.scale) or len(self.mean) not in (1, 3):
            raise NbqnnError(
                f"Mean and scale must be for one or three channels, not {len(self.mean)} and "
                f"{len(self.scale)}"
            )
        if (
            len(self.enlarge) != 2
            or not all(type(v) is int and v > 0 for v in self.enlarge)
            or not 1 <= Fraction(*self.enlarge) <= 8
        ):
            raise NbqnnError(
                f"Enlargement must be a ratio of positive integers in 1...8, not {self.enlarge!r}"
            )

    def prepare(self, picture: "Image.Image", shape: tuple[int, int, int]) -> np.ndarray:
        """A picture of :func:`nbqnn_train.inputs.decoding.read_picture` as float32 of ``shape``
        (C, H, W), with one or three channels."""
        from nbqnn_train.inputs.decoding import centred

        channels, height, width = shape
        picture = picture.convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(centred(picture, height, width, Fraction(*self.enlarge)), np.float32)
        if self.white != 255:
            pixels = pixels * np.float32(self.white / 255)
        pixels = pixels.reshape(height, width, channels).transpose(2, 0, 1)
        mean, scale = (np.array(values, np.float32) for values in (self.mean, self.scale))
        return np.ascontiguousarray((pixels - mean[:, None, None]) * scale[:, None, None])
