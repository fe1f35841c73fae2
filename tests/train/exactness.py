"""Compares a network in float64 with its graph under the interpreter, node by node."""

import numpy as np
import torch

from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph, run, tensor_types
from nbqnn_train.quant.network import QuantNetwork

__all__ = ["assert_exact"]


def assert_exact(network: QuantNetwork, images: np.ndarray) -> Graph:
    """Every node's codes are PyTorch's values over the node's step; returns the graph."""
    network = network.double().eval()
    graph = export_graph(network, images.shape[1:])
    codes = run(graph, images.astype(np.float32), trace=True)
    values = network.trace(torch.from_numpy(images.astype(np.float32)).double())
    types = tensor_types(graph)
    for node in graph.nodes:
        exponent = np.array(types[node.name].exponent)
        if exponent.ndim:
            exponent = exponent.reshape(-1, *(1,) * (codes[node.name].ndim - 2))
        # np.ldexp is exact, so equality of floats is equality of codes.
        expected = np.ldexp(codes[node.name].astype(np.float64), exponent)
        np.testing.assert_array_equal(
            values[node.name].numpy(), expected, err_msg=node.name, strict=True
        )
    logits = network(torch.from_numpy(images.astype(np.float32)).double()).detach().numpy()
    (output,) = graph.outputs
    np.testing.assert_array_equal(
        np.ldexp(codes[output].astype(float), types[output].exponent), logits
    )
    return graph
