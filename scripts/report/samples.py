"""Images that a folder's network sees, with their classes by the interpreter."""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nbqnn_train.graph import Graph, NbqnnError, run
from nbqnn_train.graph.shapes import same_order
from nbqnn_train.graph.summary import summarize
from nbqnn_train.inputs.meaning import Meaning, meaning_file, read_meaning
from nbqnn_train.inputs.preparation import Preparation
from scripts.predicting import class_scores, network_ends
from scripts.report.found import Found

__all__ = ["Sample", "Samples", "find_samples"]

#: Images that are classified: at most so many, and such that the interpreter takes seconds.
_MOST_IMAGES = 400
_MOST_MACS = 4_000_000_000
_FEWEST_IMAGES = 16
_BATCH = 32
#: Images that are shown: at most so many, of which at most so many are wrong.
_SHOWN = 24
_SHOWN_WRONG = 16
#: Bytes of the largest array that is looked at.
_LARGEST_ARRAY = 1 << 32
#: What NumPy raises for a file that is no array.
_DAMAGED = (
    *(OSError, ValueError, SyntaxError, TypeError, EOFError, RecursionError, MemoryError),
    ArithmeticError,
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image.

    pixels : (H, W, C) of 8 bits, with one or three channels.
    score : 0...1, of the class that the network says.
    label : the class that it is; None where nothing says so.
    """

    pixels: np.ndarray
    name: str
    score: float
    label: str | None

    @property
    def wrong(self) -> bool:
        return self.label is not None and self.label != self.name


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of one network, the wrong ones first, the surest of them in front.

    graph : file of the network; ``source`` says what the images are.
    images, correct : how many were classified, and how many rightly; None without labels.
    """

    graph: str
    source: str
    images: int
    correct: int | None
    shown: tuple[Sample, ...]


@dataclass(frozen=True, eq=False)
class _Images:
    """Where images come from. ``take`` gives those with the given numbers, float32 (n, C, H, W)."""

    source: str
    labels: np.ndarray | None
    count: int
    take: Callable[[np.ndarray], np.ndarray]
    meaning: Meaning


def find_samples(folder: Path, found: Iterable[Found]) -> Samples | None:
    """The images of the first graph that has some: test images of the data set of a run beside it,
    or an array of inputs (``.npy``), with labels if an array of integers of its length is there.

    None where there are none. A data set of a user's own is not loaded: its code would be run.
    """
    if find_spec("PIL") is None:  # comes with the extra for training, and writes the pictures
        return None
    for one in found:
        if not isinstance(one.content, Graph):
            continue
        graph = one.content
        try:
            shape, outputs, exponent = network_ends(graph)
            kept = read_meaning(meaning_file(folder / one.name), graph)
        except NbqnnError:
            continue
        if len(shape) != 3 or shape[0] not in (1, 3):
            continue
        for images in (*_of_runs(folder, shape, outputs), *_of_arrays(folder, shape, outputs)):
            try:
                return _classified(one.name, graph, exponent, images, kept)
            except NbqnnError:  # images that are damaged, or that the graph refuses
                continue
    return None


def _of_runs(folder: Path, shape: tuple[int, ...], outputs: int) -> Iterator[_Images]:
    try:
        from nbqnn_train.data import DATA, load_data
        from nbqnn_train.data.reshaped import in_shape
    except ImportError:  # the extra for training is not there
        return
    for config in sorted(folder.rglob("config.toml")):
        try:
            options = tomllib.loads(config.read_text(encoding="utf-8"))["train"]
            name, data_dir = options["data"], options.get("data_dir")
            if name not in DATA:
                continue
            data = load_data(name, None if data_dir is None else Path(data_dir))
            test = in_shape(data.test, shape)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, NbqnnError):
            continue
        if data.classes == outputs:
            meaning = Meaning(
                preparation=getattr(data.test, "preparation", None), classes=data.class_names
            )
            yield _Images(f"test images of {name}", test.labels, len(test), test.images, meaning)


def _of_arrays(folder: Path, shape: tuple[int, ...], outputs: int) -> Iterator[_Images]:
    arrays = [(path, _array(path)) for path in sorted(folder.rglob("*.npy"))]
    arrays = [(path, array) for path, array in arrays if array is not None and len(array)]
    for path, array in arrays:
        if array.dtype != np.float32 or not same_order(array.shape[1:], shape):
            continue
        labels = [
            other
            for _, other in arrays
            if other.dtype.kind in "iu" and other.shape == array.shape[:1]
        ]
        known = labels[0] if labels and 0 <= labels[0].min() <= labels[0].max() < outputs else None

        def take(numbers: np.ndarray, array: np.ndarray = array) -> np.ndarray:
            return np.array(array[numbers]).reshape(-1, *shape)

        name = str(path.relative_to(folder))
        yield _Images(f"images in {name}", known, len(array), take, Meaning())


def _array(path: Path) -> np.ndarray | None:
    """The array in a file, mapped; None for a file that is none."""
    try:
        if path.stat().st_size > _LARGEST_ARRAY:
            return None
        with np.errstate(over="raise"):  # of a product of lengths
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED:
        return None
    return array if isinstance(array, np.ndarray) and array.ndim else None


def _classified(name: str, graph: Graph, exponent: int, images: _Images, kept: Meaning) -> Samples:
    macs = max(1, sum(node.macs for node in summarize(graph).nodes))
    count = min(images.count, _MOST_IMAGES, max(_FEWEST_IMAGES, _MOST_MACS // macs))
    # Files are often sorted by class.
    numbers = np.unique(np.linspace(0, images.count - 1, count).astype(int))
    codes = np.concatenate(
        [
            np.asarray(run(graph, images.take(numbers[at : at + _BATCH])))
            for at in range(0, len(numbers), _BATCH)
        ]
    )
    values = codes.reshape(len(codes), -1).astype(np.float64) * 2.0**exponent
    scores, _ = class_scores(graph, values)
    found = values.argmax(axis=1)
    surest = scores.max(axis=1)
    if images.labels is None:
        order = np.argsort(surest, kind="stable")[:_SHOWN]
        labels, correct = None, None
    else:
        labels = np.asarray(images.labels)[numbers]
        wrong = np.flatnonzero(found != labels)
        wrong = wrong[np.argsort(-surest[wrong], kind="stable")][:_SHOWN_WRONG]
        right = np.flatnonzero(found == labels)
        order = np.concatenate([wrong, right[: _SHOWN - len(wrong)]])
        correct = len(right)
    names = kept.classes or images.meaning.classes
    names = names or tuple(str(number) for number in range(values.shape[1]))
    pixels = _pixels(images.take(numbers[order]), kept.preparation or images.meaning.preparation)
    shown = tuple(
        Sample(
            pixels=picture,
            name=names[found[index]],
            score=float(surest[index]),
            label=None if labels is None else names[labels[index]],
        )
        for picture, index in zip(pixels, order, strict=True)
    )
    return Samples(name, images.source, len(numbers), correct, shown)


def _pixels(inputs: np.ndarray, preparation: Preparation | None) -> np.ndarray:
    """Inputs of a network (n, C, H, W) as pictures (n, H, W, C) of 8 bits.

    Where it is not known how pictures became inputs, the least value is black, the largest white.
    """
    if preparation is None or len(preparation.mean) != inputs.shape[1]:
        low, high = float(inputs.min()), float(inputs.max())
        shares = (inputs - low) / max(high - low, 1e-30)
    else:
        mean, scale = (
            np.array(values).reshape(-1, 1, 1) for values in (preparation.mean, preparation.scale)
        )
        shares = (inputs / np.where(scale == 0, 1, scale) + mean) / preparation.white
    return np.clip(255 * shares + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
