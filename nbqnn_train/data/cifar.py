"""CIFAR-10 and CIFAR-100 from the published Python batches."""

from pathlib import Path

import numpy as np

from nbqnn_train.data.images import DataSets, ImageSet
from nbqnn_train.data.inert_pickle import InertPickleError, byte_array, read_inert
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["cifar10", "cifar100"]

#: ImageNet's means and deviations: the common pretrained files for CIFAR were trained with them.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def cifar10(data_dir: Path | None) -> DataSets:
    """``data_batch_1`` ... ``data_batch_5`` and ``test_batch`` in ``data_dir``, or in its folder
    ``cifar-10-batches-py``."""
    train = [f"data_batch_{number}" for number in range(1, 6)]
    folder, test = "cifar-10-batches-py", "test_batch"
    return _read("cifar10", data_dir, folder, train, test, "labels", _CIFAR10)


def cifar100(data_dir: Path | None) -> DataSets:
    """``train`` and ``test`` in ``data_dir``, or in its folder ``cifar-100-python``; 100 fine
    labels."""
    return _read("cifar100", data_dir, "cifar-100-python", ["train"], "test", "fine_labels", None)


def _read(
    name: str,
    data_dir: Path | None,
    folder: str,
    train: list[str],
    test: str,
    key: str,
    class_names: tuple[str, ...] | None,
) -> DataSets:
    if data_dir is None:
        raise NbqnnError(
            f"Data set {name!r} must be given the folder with its files, as --data-dir DIR"
        )
    if (data_dir / folder).is_dir():
        data_dir = data_dir / folder
    parts = [_batch(data_dir / file, key) for file in train]
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    test_pixels, test_labels = _batch(data_dir / test, key)
    mean, scale = 255 * _MEAN, 1 / (255 * _STD)
    return DataSets(
        name=name,
        train=ImageSet(pixels, labels, mean, scale),
        test=ImageSet(test_pixels, test_labels, mean, scale),
        input_shape=(3, 32, 32),
        classes=len(class_names) if class_names else 100,
        margin=4,
        class_names=class_names,
    )


def _batch(path: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) uint8 and labels (n,) int64 of one file, which is not unpickled."""
    if not path.is_file():
        raise NbqnnError(f"Data folder must hold {path.name}, unlike {str(path.parent)!r}")
    try:
        content = read_inert(path.read_bytes())
        if not isinstance(content, dict) or not {"data", key} <= content.keys():
            raise InertPickleError(f"a dictionary with data and {key} was expected")
        pixels, labels = byte_array(content["data"]), content[key]
        if pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32:
            raise InertPickleError(f"rows of 3072 bytes were expected, not shape {pixels.shape}")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise InertPickleError("a list of integer labels was expected")
    except (OSError, InertPickleError) as error:
        raise NbqnnError(f"{path} must be a CIFAR batch: {error}") from None
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
