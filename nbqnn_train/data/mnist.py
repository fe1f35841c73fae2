"""MNIST and Fashion-MNIST: 28 x 28 grey images, 10 classes."""

from pathlib import Path

import numpy as np

from nbqnn_train.data.idx import find_idx, read_idx
from nbqnn_train.data.images import DataSets, ImageSet
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["fashion_mnist", "mnist"]

_CLOTHES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def mnist(data_dir: Path | None) -> DataSets:
    """Handwritten digits, in 0 ... 1, from idx files (gz or not) in ``data_dir``."""
    return _read("mnist", data_dir, tuple(map(str, range(10))), margin=None)


def fashion_mnist(data_dir: Path | None) -> DataSets:
    """Pieces of clothing, in 0 ... 1, from idx files (gz or not) in ``data_dir``."""
    return _read("fashion-mnist", data_dir, _CLOTHES, margin=0)


def _read(
    name: str, data_dir: Path | None, class_names: tuple[str, ...], margin: int | None
) -> DataSets:
    if data_dir is None:
        raise NbqnnError(
            f"Data set {name!r} must be given the folder with its files, as --data-dir DIR"
        )
    mean, scale = np.zeros(1, np.float32), np.full(1, 1 / 255, np.float32)
    parts = []
    for prefix in ("train", "t10k"):
        images = read_idx(find_idx(data_dir, f"{prefix}-images-idx3-ubyte"), 3)
        labels = read_idx(find_idx(data_dir, f"{prefix}-labels-idx1-ubyte"), 1)
        parts.append(ImageSet(images[:, None], labels.astype(np.int64), mean, scale))
    return DataSets(
        name=name,
        train=parts[0],
        test=parts[1],
        input_shape=(1, 28, 28),
        classes=10,
        margin=margin,
        class_names=class_names,
    )
