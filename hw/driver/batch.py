"""Any number of images, in as many runs as that takes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hw.driver.driver import Driver, RunResult

__all__ = ["BatchResult", "run_batch", "run_group"]


@dataclass(frozen=True)
class BatchResult:
    """``outputs``: output name -> int64 codes (images, C, H, W); ``runs`` in their order,
    with the images' axis too."""

    outputs: dict[str, np.ndarray]
    runs: tuple[RunResult, ...]


def run_group(driver: Driver, images: np.ndarray) -> RunResult:
    """One run of at most a batch of images; its codes are theirs, (images, C, H, W).

    Where images are missing, the last one is repeated.
    """
    batch = driver.program.batch
    if batch == 1:
        result = driver.run(images[0])
    else:
        result = driver.run(images[np.minimum(np.arange(batch), len(images) - 1)])

    def of_images(codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            name: values[None] if batch == 1 else values[: len(images)]
            for name, values in codes.items()
        }

    return replace(result, outputs=of_images(result.outputs), traced=of_images(result.traced))


def run_batch(
    driver: Driver,
    images: np.ndarray,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BatchResult:
    """Runs images (N, C, H, W) or (N, F), as :meth:`Driver.run` does one; N is 1 or more.

    Each run takes as many as the program's batch. ``progress`` is called with the images done and
    all images.
    """
    if len(images) == 0:
        raise ValueError("Images must be one or more, not none")
    runs = []
    batch = driver.program.batch
    for begin in range(0, len(images), batch):
        runs.append(run_group(driver, images[begin : begin + batch]))
        progress(min(begin + batch, len(images)), len(images))
    outputs = {
        name: np.concatenate([run.outputs[name] for run in runs]) for name in runs[0].outputs
    }
    return BatchResult(outputs, tuple(runs))
