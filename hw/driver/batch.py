"""Runs any number of images, in as many runs as needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hw.contract.images import checked_images
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
    if isinstance(images, Mapping):
        images = checked_images(driver.program.graph, images)
    if len(images) == 0:
        raise ValueError("Images must be one or more, not none")
    runs = []
    batch = driver.program.batch
    for begin in range(0, len(images), batch):
        runs.append(driver.run(images[begin : begin + batch]))
        progress(min(begin + batch, len(images)), len(images))
    outputs = {
        name: np.concatenate([run.outputs[name] for run in runs]) for name in runs[0].outputs
    }
    return BatchResult(outputs, tuple(runs))
