"""Images in folders: ``train/CLASS`` and ``val/CLASS``, the layout of ImageNet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbqnn_train.data.images import DataSets
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.inputs.decoding import SUFFIXES, read_picture
from nbqnn_train.inputs.preparation import Preparation

__all__ = ["FolderImages", "folder"]

#: Images are scaled so that their shorter side has this length, and cut to the square inside.
_SHORT_SIDE = 256
_SIZE = 224
_MEAN = 255 * np.array([0.485, 0.456, 0.406], np.float32)
_SCALE = 1 / (255 * np.array([0.229, 0.224, 0.225], np.float32))
_PREPARATION = Preparation(
    mean=tuple(_MEAN.tolist()), scale=tuple(_SCALE.tolist()), enlarge=(_SHORT_SIDE, _SIZE)
)


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
        # Of several processes one may have none of a small last batch.
        images = np.empty((len(numbers), *self.shape), np.float32)
        for image, number in zip(images, numbers, strict=True):
            image[:] = _PREPARATION.prepare(read_picture(self.paths[number]), self.shape)
        return images

    @property
    def preparation(self) -> Preparation:
        """How any other image file becomes what a network sees."""
        return _PREPARATION


def folder(data_dir: Path | None) -> DataSets:
    """Classes are the folders of ``data_dir/train`` in alphabetical order; the images of a class
    are all in its folder, also those in folders within."""
    if data_dir is None:
        raise NbqnnError(
            "Data set 'folder' must be given the folder with its images, as --data-dir DIR"
        )
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
        class_names=tuple(classes),
    )


def _folders(path: Path) -> list[str]:
    names = sorted(p.name for p in _shown(path) if p.is_dir()) if path.is_dir() else []
    if not names:
        raise NbqnnError(f"Image folder must hold a folder for each class, unlike {str(path)!r}")
    return names


def _files(path: Path, classes: list[str]) -> FolderImages:
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = [p for p in _within(path / name) if p.suffix.lower() in SUFFIXES]
        if not files:
            kinds = ", ".join(sorted(SUFFIXES))
            raise NbqnnError(
                f"Image folder must hold images, unlike {str(path / name)!r}: files in {kinds}"
            )
        paths += files
        labels += [label] * len(files)
    return FolderImages(tuple(paths), np.array(labels, dtype=np.int64))


def _within(path: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files in a folder and in the folders within, in alphabetical order."""
    above = (*above, path.resolve())
    for part in sorted(_shown(path)):
        if not part.is_dir():
            yield part
        elif part.resolve() not in above:  # a link may lead back
            yield from _within(part, above)


def _shown(path: Path) -> list[Path]:
    """What a folder holds without hidden files and folders, which programs leave behind."""
    return [p for p in path.iterdir() if not p.name.startswith(".")]
