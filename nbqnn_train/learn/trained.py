"""What a training left behind: its network, and that network's integer graph."""

from pathlib import Path

from torch import nn

from nbqnn_train.export import export_graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.nodes import Graph
from nbqnn_train.inputs.meaning import Meaning, read_meaning
from nbqnn_train.learn.networks import float_network, load_state, quantized_network
from nbqnn_train.learn.runs import MEANING, WEIGHTS, Run, read_run
from nbqnn_train.learn.weight_files import read_weights
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.own import give_biases, unshare

__all__ = ["export_run", "graph_and_meaning", "load_run", "trained_network"]


def load_run(path: Path) -> QuantNetwork:
    """The trained network of the run in the folder ``path``, in evaluation mode."""
    path = Path(path)
    run = read_run(path)
    if run.config.full_precision:
        raise NbqnnError(f"Run must be of a quantized network, not in full precision: {path}")
    return trained_network(path, run)


def trained_network(path: Path, run: Run) -> nn.Module:
    """The trained network of a run that was read already, in evaluation mode."""
    weights = path / WEIGHTS
    if not weights.is_file():
        raise NbqnnError(f"Run must be finished (have {WEIGHTS}), not {str(path)!r}")
    state = read_weights(weights)
    config, classes, channels = run.config, run.classes, run.input_shape[0]
    if run.source is not None:
        run.source.check(path, config.model)
    if config.full_precision:
        network = float_network(config.model, classes, channels, weights=None)
    else:
        network = quantized_network(config, classes, run.input_shape, initial=None)
    if isinstance(network, QuantNetwork):  # weights that were rounded first
        unshare(network)
        give_biases(network, state)
    load_state(network, state, weights)
    return network.eval()


def export_run(path: Path) -> Graph:
    """The integer graph of the run in the folder ``path``."""
    return graph_and_meaning(path)[0]


def graph_and_meaning(path: Path) -> tuple[Graph, Meaning]:
    """The integer graph of the run in the folder ``path``, and what its ends mean."""
    path = Path(path)
    graph = export_graph(load_run(path), read_run(path).input_shape)
    return graph, read_meaning(path / MEANING)
