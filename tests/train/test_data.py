"""Data sets and batches."""

import numpy as np
import pytest
import torch

from nbqnn_train.data import DataSets, ImageSet, load_data
from nbqnn_train.data.batches import calibration_batches, ordered_loader, train_loader
from nbqnn_train.graph.errors import NbqnnError


def image_set(count=10, shape=(1, 4, 4), labels=None) -> ImageSet:
    pixels = np.arange(count * int(np.prod(shape)), dtype=np.float32).reshape(count, *shape)
    labels = np.arange(count) % 3 if labels is None else np.array(labels)
    ones = np.ones(shape[0], np.float32)
    return ImageSet(pixels, labels.astype(np.int64), 0 * ones, ones)


def test_digits_are_split_in_a_fixed_stratified_way():
    data = load_data("digits")
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.input_shape == (1, 8, 8)
    images = data.test.images()
    assert images.dtype == np.float32
    assert images.shape == (360, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 1)
    share = np.bincount(data.train.labels) / np.bincount(data.test.labels)
    assert share.max() - share.min() < 0.3
    assert np.array_equal(images, load_data("digits").test.images())


def test_unknown_data_set():
    with pytest.raises(NbqnnError, match=r"^Data set must be one of .*, not 'nope'$"):
        load_data("nope")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (image_set(labels=[3] * 10), r"training labels must be in 0\.\.2, not 3"),
        (image_set(labels=[-1] * 10), r"training labels must be in 0\.\.2, not -1"),
        (image_set(labels=[0] * 9), "one label for each of 10 training images, not 9"),
        (
            image_set(shape=(3, 4, 4)),
            r"training images must have shape \(1, 4, 4\), not \(3, 4, 4\)",
        ),
        (image_set(count=0), "must have training images, not none"),
    ],
)
def test_bad_images(train, message):
    with pytest.raises(NbqnnError, match=message):
        DataSets("mine", train, image_set(), (1, 4, 4), 3)


def test_a_scale_of_zero_would_make_all_images_the_same():
    with pytest.raises(NbqnnError, match=r"Scale must be one finite number other than 0"):
        ImageSet(np.ones((2, 1, 4, 4), np.float32), [0, 1], np.zeros(1), np.zeros(1))


def batches(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_order_depends_on_seed_and_epoch_alone():
    first = batches(train_loader(image_set(), 4, seed=1), epoch=3)
    again = batches(train_loader(image_set(), 4, seed=1), epoch=3)
    assert [len(labels) for _, labels in first] == [4, 4]
    for (a, x), (b, y) in zip(first, again, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)
    for other in (
        batches(train_loader(image_set(), 4, seed=1), epoch=4),
        batches(train_loader(image_set(), 4, seed=2), epoch=3),
    ):
        assert not torch.equal(first[0][0], other[0][0])


def test_processes_share_a_batch():
    whole = batches(train_loader(image_set(), 4, seed=1))
    parts = [batches(train_loader(image_set(), 4, seed=1, rank=r, world=2)) for r in (0, 1)]
    for (images, _), (even, _), (odd, _) in zip(whole, *parts, strict=True):
        assert torch.equal(images[0::2], even)
        assert torch.equal(images[1::2], odd)


def test_augmentation_moves_and_mirrors():
    # Every pixel holds its own position, so that what was done can be read off.
    size, count = 8, 200
    position = 1 + np.arange(size * size, dtype=np.float32).reshape(1, size, size)
    images = image_set(count, (1, size, size))
    images.pixels[:] = position
    ((moved, _),) = batches(train_loader(images, count, seed=1, margin=4))
    steps, mirrored = [], 0
    for image in moved[:, 0].numpy():
        rows, columns = np.nonzero(image)
        values = image[rows, columns].astype(int) - 1
        if values[1] < values[0]:
            mirrored += 1
            columns = size - 1 - columns
        (down,) = set(values // size - rows)
        (right,) = set(values % size - columns)
        assert len(values) == (size - abs(down)) * (size - abs(right))
        steps += [down, right]
    assert 60 < mirrored < 140
    assert set(steps) == set(range(-4, 5))


def test_alternating_flips_show_both_sides_of_each_image():
    size, count = 4, 64
    images = image_set(count, (1, size, size))
    images.pixels[:] = np.arange(1, 1 + size, dtype=np.float32)
    images.labels[:] = np.arange(count)

    def mirrored(epoch, **parts):
        loader = train_loader(images, 16, seed=1, margin=0, flips="alternating", **parts)
        found = [pair for batch in batches(loader, epoch) for pair in zip(*batch, strict=True)]
        return {int(label): bool(image[0, 0, 0] > image[0, 0, -1]) for image, label in found}

    first, second = mirrored(0), mirrored(1)
    assert len(first) == count
    assert 16 < sum(first.values()) < 48
    assert second == {label: not turned for label, turned in first.items()}
    assert (mirrored(2), mirrored(3)) == (first, second)
    assert mirrored(1, rank=0, world=2) | mirrored(1, rank=1, world=2) == second


def test_ordered_loader_covers_everything_once():
    labels = torch.cat([labels for _, labels in ordered_loader(image_set(), 4)])
    assert labels.tolist() == image_set().labels.tolist()


@pytest.mark.parametrize("margin", [None, 1])
def test_calibration_sees_the_images_of_the_training(margin):
    """Shuffled and augmented as there; as many batches as are needed, or as there are."""
    images = image_set()
    batches = [batch for batch, _ in train_loader(images, 4, seed=3, margin=margin)]
    for count, taken in ((1, 1), (4, 1), (5, 2), (1000, len(batches))):
        parts = calibration_batches(images, count, 4, 3, margin=margin)
        assert len(parts) == taken
        assert all(map(torch.equal, parts, batches))


def test_normalization():
    ones = np.ones(2, np.float32)
    images = ImageSet(
        np.full((1, 2, 1, 1), 100, np.uint8), np.zeros(1, np.int64), 60 * ones, ones / 8
    )
    assert images.images().ravel().tolist() == [5, 5]
