"""What a graph, or the graph of a run, consists of, and what quantization did to it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.infer import tensor_types
from nbqnn_train.graph.storage import load
from nbqnn_train.graph.summary import GraphSummary, summarize

__all__ = ["inspect"]

#: Test images that activations are taken from; shares of codes change little with more.
_IMAGES = 256
_BATCH = 32


def inspect(
    path: Path,
    data: str | None = None,
    data_dir: Path | None = None,
    against: Path | None = None,
) -> GraphSummary:
    """What is in the file of a graph or the folder of a run, node by node.

    A graph is summarized by :func:`nbqnn_train.graph.summary.summarize`, a run by
    :func:`nbqnn_train.quantization_report.report_quantization`.

    data, data_dir : where images come from, the first 256 of the test images. A run has its own by
        default; without any, a graph's codes are not counted.
    against : file of the full-precision weights that a run is compared with, in place of its own
        before projection.
    """
    path = Path(path)
    if not path.exists():
        raise NbqnnError(f"Run or graph must exist, not {str(path)!r}")
    # Only runs and data need more than NumPy.
    if path.is_dir():
        return _inspect_run(path, data, data_dir, against)
    graph = load(path)
    if against is not None:
        raise NbqnnError(f"Weights to compare with need a run, not the graph {str(path)!r}")
    if data is None:
        return summarize(graph)
    inputs = graph.input_nodes
    if len(inputs) != 1:
        raise NbqnnError(f"Graph for a data set must have one input, not {len(inputs)}")
    batches = _batches(data, data_dir, tensor_types(graph)[inputs[0].name].shape)
    return summarize(graph, batches)


def _inspect_run(
    path: Path, data: str | None, data_dir: Path | None, against: Path | None
) -> GraphSummary:
    from nbqnn_train.learn.networks import quantized_network
    from nbqnn_train.learn.runs import read_run
    from nbqnn_train.learn.trained import load_run
    from nbqnn_train.quantization_report import report_quantization

    run, network, reference = read_run(path), load_run(path), None
    if against is not None:
        if not against.is_file():
            raise NbqnnError(f"Weights to compare with must be a file, not {str(against)!r}")
        reference = quantized_network(run.config, run.classes, run.input_shape, against)
    if data is None:
        data, data_dir = run.config.data, data_dir or run.config.data_dir
    batches = list(_batches(data, data_dir, run.input_shape))
    return report_quantization(network, batches, reference)


def _batches(data: str, data_dir: Path | None, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    from nbqnn_train.data import load_data
    from nbqnn_train.data.reshaped import in_shape

    images = in_shape(load_data(data, data_dir).test, shape)
    count = min(len(images), _IMAGES)
    for start in range(0, count, _BATCH):
        yield images.images(slice(start, min(start + _BATCH, count)))
