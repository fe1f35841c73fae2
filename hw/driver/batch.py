"""Runs any number of images, in as many runs as needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hw.contract.images import by_input, checked_images
from hw.driver.driver import Driver, RunResult

__all__ = ["BatchResult", "run_batch"]


@dataclass(frozen=True)
class BatchResult:
    """``outputs``: output name -> int64 codes (N, C, H, W) of all images; ``runs`` in order."""

    outputs: dict[str, np.ndarray]
    runs: tuple[RunResult, ...]


def run_batch(
    driver: Driver,
    images: np.ndarray | Mapping[str, np.ndarray],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BatchResult:
    """Runs N images, 1 or more. :meth:`Driver.run` takes at most the program's batch.

    ``progress`` is called with the number of images done and the number of all images.
    """
    graph = driver.program.graph
    given = by_input(graph, images)
    if isinstance(images, Mapping):
        checked_images(graph, given)  # before the first run
        shapes = {node.name: node.shape for node in graph.input_nodes}
        given = {name: x.reshape(len(x), *shapes[name]) for name, x in given.items()}
    count = len(next(iter(given.values())))
    if count == 0:
        raise ValueError("Images must be one or more, not none")
    runs = []
    batch = driver.program.batch
    for begin in range(0, count, batch):
        # As they are given: the driver takes float64 without rounding it to float32 first.
        runs.append(driver.run({name: x[begin : begin + batch] for name, x in given.items()}))
        progress(min(begin + batch, count), count)
    outputs = {
        name: np.concatenate([run.outputs[name] for run in runs]) for name in runs[0].outputs
    }
    return BatchResult(outputs, tuple(runs))
