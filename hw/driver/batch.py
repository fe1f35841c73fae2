"""Batches of images, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.driver.driver import Driver, RunResult

__all__ = ["BatchResult", "run_batch"]


@dataclass(frozen=True)
class BatchResult:
    """``outputs``: output name -> int64 codes (images, C, H, W); ``runs``: one for each image."""

    outputs: dict[str, np.ndarray]
    runs: tuple[RunResult, ...]


def run_batch(
    driver: Driver,
    images: np.ndarray,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BatchResult:
    """Runs images (N, C, H, W) or (N, F), as :meth:`Driver.run` does one; N is 1 or more.

    ``progress`` is called with the images done and all images.
    """
    if len(images) == 0:
        raise ValueError("Images must be one or more, not none")
    runs = []
    for image in images:
        runs.append(driver.run(image))
        progress(len(runs), len(images))
    outputs = {name: np.stack([run.outputs[name] for run in runs]) for name in runs[0].outputs}
    return BatchResult(outputs, tuple(runs))
