"""Image files as 8-bit pictures, whatever they hold."""

import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["SUFFIXES", "centred", "read_picture"]

#: Files with these endings are taken for images.
SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "ppm", "tif", "tiff", "webp"),
    )
)
#: A side this many times as long as the other is cut before it is resized, so that a thread of an
#: image does not take gigabytes.
_LONGEST = 16


def read_picture(path: Path) -> Image.Image:
    """The image in a file in mode ``L`` (grey, 1 bit and 16 bits too) or ``RGB`` (all others).

    Of 16-bit values the high byte is kept. Transparency is ignored. The picture is turned as its
    camera's note says. Animations, and values without a known white, are refused.
    """
    try:
        with warnings.catch_warnings():
            # Large is no error; what is far too large raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise NbqnnError(
                        f"{path} must be one image, not an animation of {image.n_frames}"
                    )
                image.load()
                return _plain(ImageOps.exif_transpose(image), path)
    except NbqnnError:
        raise
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise NbqnnError(
                f"image {str(path)!r} cannot be read: {error.strerror}; check the path"
            ) from None
        raise NbqnnError(f"{path} must be an image: {error}") from None


def _plain(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() >= 1 << 16:
            raise NbqnnError(
                f"{path} must have values of 8 or 16 bits, not {values.min()}..{values.max()}"
            )
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise NbqnnError(f"{path} must have values of 8 or 16 bits, not floats")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of the direct way
    return image.convert("RGB")


def centred(
    image: Image.Image, height: int, width: int, margin: Fraction = Fraction(1)
) -> Image.Image:
    """The middle of an image, ``height`` x ``width`` pixels of it.

    It is resized, bilinearly and with its proportions, to ``margin`` times the smallest size that
    covers this.
    """
    image = _cut(image)
    factor = max(Fraction(width, image.width), Fraction(height, image.height)) * margin
    size = tuple(
        max(round(own * factor), wanted)
        for own, wanted in zip(image.size, (width, height), strict=True)
    )
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _cut(image: Image.Image) -> Image.Image:
    longest = _LONGEST * min(image.size)
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
