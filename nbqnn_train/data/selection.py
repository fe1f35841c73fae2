"""Parts of a data set's training images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nbqnn_train.data.images import DataSets, LabelledImages
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Selection", "split"]

#: Seed of the split alone: it is the same whatever the seed of a training, so that they compare.
_SEED = 0


@dataclass(frozen=True)
class Selection:
    """Some of the ``whole`` images: those with the given ``numbers`` (N,)."""

    whole: LabelledImages
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        return self.whole.labels[self.numbers]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return self.whole.shape

    def images(self, indices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """What a network sees: float32 (n, C, H, W)."""
        return self.whole.images(self.numbers[indices])


def split(data: DataSets, train_images: int | None, validation: int) -> DataSets:
    """``data`` with ``validation`` training images held out, and ``train_images`` of the others.

    None uses all others. Both are random choices, always the same ones. The images held out do not
    depend on ``train_images``. Raises :class:`NbqnnError` if there are fewer.
    """
    if not validation and train_images is None:
        return data
    wanted, there = validation + (train_images or 1), len(data.train)
    if wanted > there:
        raise NbqnnError(
            f"Data set {data.name!r} must have {wanted} training images to train and to validate "
            f"with, not {there}"
        )
    order = np.random.default_rng(_SEED).permutation(there)
    rest = order[validation:]
    return replace(
        data,
        train=Selection(data.train, rest[:train_images]),
        validation=Selection(data.train, order[:validation]) if validation else None,
    )
