"""Pieces of a search, each of which any worker can compute: the sensitivities, or a network."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from nbqnn_train.convert import QuantConfig
from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.accuracy import count_correct_graph
from nbqnn_train.quantize import quantize
from nbqnn_train.width_search import LayerSensitivity, sensitivities
from scripts.quantizing import Task, Trained, agreement

__all__ = ["Found", "Searched", "Widths", "compared_images", "digest", "search_piece"]

_BATCH = 64


@dataclass(frozen=True)
class Searched:
    """What all pieces of a search share.

    weights, inputs : their digests, which every worker must find under the task's names.
    trained : what the task has, where it was read already. Pieces elsewhere read it, and compute
        with one thread: so their sums do not depend on the number of cores.
    progress : called with how much of a piece is done, of how much, and of what.
    """

    task: Task
    config: QuantConfig
    widths: tuple[int, ...]
    images: int
    seed: int
    weights: str
    inputs: str
    trained: Trained | None = None
    progress: Callable[[int, int, str], None] | None = None

    def elsewhere(self) -> "Searched":
        """The same for workers, which see the same files."""
        return replace(self, task=self.task.anywhere(), trained=None, progress=None)


@dataclass(frozen=True)
class Widths:
    """A network to be made: the width of its layers, and other ones by the path of a module."""

    name: str
    weight_bits: int
    overrides: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Found:
    """A network that was made: its graph, how often it agrees with full precision, and its share
    of right test images; None without a data set."""

    graph: Graph
    agreement: float
    accuracy: float | None


def search_piece(shared: Searched, piece: Widths | None) -> Found | list[LayerSensitivity]:
    """The network with these widths; for None the sensitivities of all layers."""
    trained = shared.trained
    if trained is None:
        torch.set_num_threads(1)
        trained = _read(shared.task, shared.images, shared.seed)
        _check_same(shared, trained)
    what = "sensitivities" if piece is None else piece.name
    options = {
        "images": shared.images,
        "seed": shared.seed,
        "progress": _told(shared.progress, what),
    }
    seen = _batches(trained.x[: shared.images])
    options["example"] = seen[0][:1]
    if piece is None:
        return sensitivities(trained.network, seen, shared.config, shared.widths, **options)
    config = replace(shared.config, weight_bits=piece.weight_bits, overrides=piece.overrides)
    graph = export_graph(
        quantize(trained.network, seen, config, **options), tuple(trained.x.shape[1:])
    )
    agreed = agreement(trained.network, graph, _unseen(trained, shared.images))
    if agreed is None:
        raise NbqnnError("Network must have classes as outputs, (N, classes), to be compared")
    test = None if trained.sets is None else trained.sets.test
    accuracy = None if test is None else count_correct_graph(graph, test) / len(test)
    return Found(graph, agreed, accuracy)


def compared_images(trained: Trained, images: int) -> int:
    """Number of inputs that networks are compared with full precision on."""
    return sum(len(batch) for batch in _unseen(trained, images))


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of their values."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().numpy().tobytes())
    return sha.hexdigest()


@lru_cache(maxsize=1)
def _read(task: Task, images: int, seed: int) -> Trained:
    return task.read(2 * images, seed)


def _check_same(shared: Searched, trained: Trained) -> None:
    found = {
        "weights": digest(trained.network.state_dict().values()),
        "inputs": digest([torch.from_numpy(trained.x)]),
    }
    for what, value in found.items():
        if value != getattr(shared, what):
            raise NbqnnError(
                f"Workers must find the same {what} under the same names as here, but one finds "
                "others; remedy: a folder that all of them see"
            )


def _told(progress: Callable[[int, int, str], None] | None, what: str):
    return None if progress is None else lambda done, total, _: progress(done, total, what)


def _unseen(trained: Trained, images: int) -> list[Tensor]:
    """Fewer inputs than asked for are used for both."""
    x = trained.x
    return _batches(x[images:] if len(x) > images else x)


def _batches(x) -> list[Tensor]:
    return [torch.from_numpy(x[at : at + _BATCH]) for at in range(0, len(x), _BATCH)]
