"""How good a run or a graph is, on all test images, in exact arithmetic."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nbqnn_train.data import LabelledImages, load_data
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.infer import tensor_types
from nbqnn_train.graph.interpreter import run as run_graph
from nbqnn_train.graph.nodes import Graph
from nbqnn_train.graph.storage import load
from nbqnn_train.networks import float_network, load_state, quantized_network
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.runs import CONFIG, WEIGHTS, Run, read_run
from nbqnn_train.weight_files import read_weights

__all__ = ["count_correct", "count_correct_graph", "evaluate", "load_run"]

#: More images at a time are slower: float64 maps no longer fit the cache.
_BATCH = 32


def load_run(path: Path) -> QuantNetwork:
    """The trained network of the run in the folder ``path``, in evaluation mode."""
    path = Path(path)
    run = read_run(path)
    if run.config.full_precision:
        raise NbqnnError(f"Run must be of a quantized network, not in full precision: {path}")
    return _trained(path, run)


def _trained(path: Path, run: Run) -> nn.Module:
    weights = path / WEIGHTS
    if not weights.is_file():
        raise NbqnnError(f"Run must be finished (have {WEIGHTS}), not {str(path)!r}")
    state = read_weights(weights)
    config, classes, channels = run.config, run.classes, run.input_shape[0]
    if config.full_precision:
        network = float_network(config.model, classes, channels, weights=None)
    else:
        network = quantized_network(config, classes, channels, initial=None)
    load_state(network, state, weights)
    return network.eval()


def evaluate(path: Path, data: str, data_dir: Path | None = None) -> dict:
    """``{"accuracy": 0 ... 1, "images": n}`` on the test images of ``data``.

    ``path`` is the folder of a run, computed by PyTorch in float64, or the file of a graph,
    computed by the interpreter. The two agree to the bit.
    """
    path = Path(path)
    if not path.exists():
        raise NbqnnError(f"Run or graph must exist, not {str(path)!r}")
    if path.is_dir() and (path / CONFIG).is_file():
        run = read_run(path)
        subject, shape = _trained(path, run), run.input_shape
        count = count_correct
    else:
        subject = load(path)
        shape = tensor_types(subject)[subject.input_nodes[0].name].shape
        count = count_correct_graph
    images = load_data(data, data_dir).test
    if images.shape != shape:
        raise NbqnnError(f"Images must have shape {shape}, not {images.shape}")
    return {"accuracy": count(subject, images) / len(images), "images": len(images)}


def count_correct(network: nn.Module, images: LabelledImages) -> int:
    """Test images whose class a network names; it computes in float64, on a copy."""
    network = copy.deepcopy(network).double().eval()
    correct = 0
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            logits = network(torch.from_numpy(images.images(part)).double())
            correct += int((logits.numpy().argmax(axis=1) == images.labels[part]).sum())
    return correct


def count_correct_graph(graph: Graph, images: LabelledImages) -> int:
    """Test images whose class a graph names. Of equal largest outputs the first one counts."""
    correct = 0
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        codes = np.asarray(run_graph(graph, images.images(part)))
        correct += int((codes.argmax(axis=1) == images.labels[part]).sum())
    return correct
