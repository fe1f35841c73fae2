"""The 1,797 handwritten digits that scikit-learn ships."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbqnn_train.data.images import DataSets, ImageSet

__all__ = ["digits"]

_TEST_IMAGES = 360
_WHITE = 16
#: Of the split alone: it is the same whatever the seed of a training.
_SPLIT_SEED = 0


def digits(data_dir: Path | None = None) -> DataSets:
    """8 x 8 images in 0 ... 1, in steps of 1/16.

    The split is fixed and stratified, with 360 test images.

    ``data_dir`` is not needed: the images are part of the installed package.
    """
    bunch = load_digits()
    pixels = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=_TEST_IMAGES, random_state=_SPLIT_SEED, stratify=labels
    )
    mean, scale = np.zeros(1, np.float32), np.full(1, 1 / _WHITE, np.float32)
    return DataSets(
        name="digits",
        train=ImageSet(pixels[train], labels[train], mean, scale, _WHITE),
        test=ImageSet(pixels[test], labels[test], mean, scale, _WHITE),
        input_shape=(1, 8, 8),
        classes=10,
        class_names=tuple(map(str, range(10))),
    )
