"""Images in folders: ``train/CLASS/*`` and ``val/CLASS/*``, the layout of ImageNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from nbqnn_train.data.images import DataSets, normalized
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["FolderImages", "folder"]

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
#: The shorter side of an image is scaled to this length. The square inside is what counts.
_SHORT_SIDE = 256
_SIZE = 224
_MEAN = 255 * np.array([0.485, 0.456, 0.406], np.float32)
_SCALE = 1 / (255 * np.array([0.229, 0.224, 0.225], np.float32))


@dataclass(frozen=True)
class FolderImages:
    """Labelled image files, read when they are asked for.

    paths : (N,). labels : (N,) int64.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return 3, _SIZE, _SIZE

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, 3, 224, 224), normalized as for ImageNet."""
        numbers = np.arange(len(self))[indices]
        pixels = np.stack([_read(self.paths[number]) for number in numbers])
        return normalized(pixels, _MEAN, _SCALE)


def folder(data_dir: Path | None) -> DataSets:
    """Classes are the folders of ``data_dir/train`` in alphabetical order."""
    if data_dir is None:
        raise NbqnnError("Data set 'folder' must be given the folder with its images")
    classes = _folders(data_dir / "train")
    if (found := _folders(data_dir / "val")) != classes:
        different = sorted(set(found) ^ set(classes))
        raise NbqnnError(
            f"{data_dir / 'val'} must have the classes of {data_dir / 'train'}; "
            f"only one of them has {', '.join(different[:3])}"
        )
    return DataSets(
        name="folder",
        train=_files(data_dir / "train", classes),
        test=_files(data_dir / "val", classes),
        input_shape=(3, _SIZE, _SIZE),
        classes=len(classes),
    )


def _folders(path: Path) -> list[str]:
    names = sorted(p.name for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    if not names:
        raise NbqnnError(f"Image folder must hold a folder for each class, unlike {str(path)!r}")
    return names


def _files(path: Path, classes: list[str]) -> FolderImages:
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(p for p in (path / name).iterdir() if p.suffix.lower() in _SUFFIXES)
        if not files:
            raise NbqnnError(f"Image folder must hold images, unlike {str(path / name)!r}")
        paths += files
        labels += [label] * len(files)
    return FolderImages(tuple(paths), np.array(labels, dtype=np.int64))


def _read(path: Path) -> np.ndarray:
    """One image, uint8 (3, 224, 224)."""
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise NbqnnError(f"{path} must be an image: {error}") from None
    factor = _SHORT_SIDE / min(image.size)
    width, height = (max(_SHORT_SIDE, round(side * factor)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - _SIZE) // 2, (height - _SIZE) // 2
    image = image.crop((left, top, left + _SIZE, top + _SIZE))
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
