"""Batches of a data set: the same for the same seed and epoch, also after an interruption."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nbqnn_train.data.images import LabelledImages

__all__ = ["calibration_batches", "ordered_loader", "train_loader"]


#: Tells the seed of the first epoch's flips from those of epochs and batches.
_FIRST_FLIPS = 1 << 32


@dataclass(frozen=True)
class _Batch:
    """A batch of all processes together, and the share of this process."""

    indices: np.ndarray
    rank: int = 0
    world: int = 1
    #: Seeds the augmentation.
    seed: tuple[int, ...] = ()
    #: See :class:`nbqnn_train.data.DataSets`.
    margin: int | None = None
    #: (N,), bool: which images are mirrored; None where that is drawn for each batch.
    mirrored: np.ndarray | None = None

    @property
    def share(self) -> slice:
        return slice(self.rank, None, self.world)


class _Batches(Dataset):
    """Indexed by a :class:`_Batch`; float32 images and int64 labels."""

    def __init__(self, images: LabelledImages):
        self.images = images

    def __getitem__(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        mine = batch.indices[batch.share]
        pixels = self.images.images(mine)
        if batch.margin is not None:
            # Drawn for the whole batch: an image is changed alike whichever process has it.
            rng, count = np.random.default_rng(batch.seed), len(batch.indices)
            top, left = rng.integers(0, 2 * batch.margin + 1, (2, count))[:, batch.share]
            mirrored = rng.random(count) < 0.5 if batch.mirrored is None else batch.mirrored
            pixels = _augmented(pixels, batch.margin, top, left, mirrored[batch.share])
        return torch.from_numpy(pixels), torch.from_numpy(self.images.labels[mine])


def _augmented(
    images: np.ndarray, margin: int, top: np.ndarray, left: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """Moves images by up to ``margin`` pixels and mirrors them, each in its own way.

    New pixels are 0.

    top, left : (N,), 0 ... 2 * margin.
    mirrored : (N,), bool.
    """
    count, _, height, width = images.shape
    padding = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    padded = np.pad(images, padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    moved = windows[np.arange(count), :, top, left]
    return np.ascontiguousarray(np.where(mirrored[:, None, None, None], moved[..., ::-1], moved))


class _EpochSampler(Sampler):
    """A new order each epoch. A smaller last batch is left out, unless it is the only one."""

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        margin: int | None,
        flips: str,
        rank: int,
        world: int,
    ):
        self.count, self.batch_size = count, min(batch_size, count)
        self.seed, self.margin, self.flips = seed, margin, flips
        self.rank, self.world = rank, world
        self.epoch = 0
        #: Epoch, and number of the batch that comes next.
        self.next = (0, 0)
        self._resumed = False

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop."""
        self.epoch = epoch

    def resume(self, epoch: int, batch: int) -> None:
        """The next pass begins with that batch, if it is one over that epoch."""
        self.next, self._resumed = (epoch, batch), True

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[_Batch]:
        epoch, first = self.next
        if not self._resumed or epoch != self.epoch:
            first = 0
        self._resumed = False
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        mirrored = self._mirrored()
        for number in range(first, len(self)):
            self.next = (self.epoch, number + 1)
            indices = order[number * self.batch_size : (number + 1) * self.batch_size]
            seed = (self.seed, self.epoch, number)
            flips = None if mirrored is None else mirrored[indices]
            yield _Batch(indices, self.rank, self.world, seed, self.margin, flips)

    def _mirrored(self) -> np.ndarray | None:
        """Of all images, which are mirrored in this epoch: the others than in the one before."""
        if self.flips == "random":
            return None
        first = np.random.default_rng((self.seed, _FIRST_FLIPS)).random(self.count) < 0.5
        return first ^ (self.epoch % 2 == 1)


class _ResumableLoader(DataLoader):
    """Goes on with the batch that came next when its state was taken, also within an epoch."""

    sampler: _EpochSampler

    def state_dict(self) -> dict:
        epoch, batch = self.sampler.next
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict) -> None:
        self.sampler.resume(state["epoch"], state["batch"])


class _InOrder(Sampler):
    def __init__(self, count: int, batch_size: int, rank: int, world: int):
        self.count, self.batch_size = count, batch_size
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[_Batch]:
        for start in range(0, self.count, self.batch_size):
            indices = np.arange(start, min(start + self.batch_size, self.count))
            yield _Batch(indices, self.rank, self.world)


def train_loader(
    images: LabelledImages,
    batch_size: int,
    seed: int,
    *,
    margin: int | None = None,
    flips: str = "random",
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """Shuffled batches of ``batch_size`` over all ``world`` processes together.

    margin : see :class:`nbqnn_train.data.DataSets`; without one no image is changed.
    flips : "random" mirrors each image with probability one half. "alternating" does so in the
        first epoch only; from then on an image is mirrored where it was not in the epoch before.
    """
    sampler = _EpochSampler(len(images), batch_size, seed, margin, flips, rank, world)
    return _ResumableLoader(_Batches(images), batch_size=None, sampler=sampler)


def ordered_loader(
    images: LabelledImages, batch_size: int, *, rank: int = 0, world: int = 1
) -> DataLoader:
    """All images in order, in batches of ``batch_size`` over all ``world`` processes together."""
    sampler = _InOrder(len(images), batch_size, rank, world)
    return DataLoader(_Batches(images), batch_size=None, sampler=sampler)


def calibration_batches(
    images: LabelledImages,
    count: int,
    batch_size: int,
    seed: int,
    *,
    margin: int | None = None,
    flips: str = "random",
) -> list[Tensor]:
    """The images of a training's first batches: at least ``count`` images, or those of one epoch.

    They come in the training's random order, because files are often sorted by class. They are
    augmented as there, because what is learned fits means and ranges of augmented images.
    """
    loader = train_loader(images, batch_size, seed, margin=margin, flips=flips)
    return [batch for batch, _ in islice(loader, math.ceil(count / batch_size))]
