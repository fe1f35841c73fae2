"""Compares a network in float64 with its graph under the interpreter, node by node."""

import numpy as np
import torch
from torch.utils import _pytree as pytree

from nbqnn_train.export import export_graph
from nbqnn_train.graph import Graph, run, tensor_types
from nbqnn_train.quant.network import QuantNetwork

__all__ = ["assert_exact"]


def assert_exact(network: QuantNetwork, *images: np.ndarray) -> Graph:
    """Every node's codes are PyTorch's values over the node's step; returns the graph.

    ``images`` are the network's inputs, in order.
    """
    network = network.double().eval()
    images = [image.astype(np.float32) for image in images]
    shapes = [image.shape[1:] for image in images]
    graph = export_graph(network, shapes[0] if len(shapes) == 1 else shapes)
    names = [node.name for node in graph.input_nodes]
    codes = run(graph, dict(zip(names, images, strict=True)), trace=True)
    tensors = [torch.from_numpy(image).double() for image in images]
    values = network.trace(*tensors)
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
    results = pytree.tree_leaves(network(*tensors))
    for output, result in zip(graph.outputs, results, strict=True):
        found = np.ldexp(codes[output].astype(float), types[output].exponent)
        # What the module arranges after the last layer is not part of the graph.
        same = result.numel() == found.size and result.shape == found.shape
        expected = result.detach().numpy()
        if not same:
            found, expected = np.sort(found.ravel()), np.sort(expected.ravel())
        np.testing.assert_array_equal(found, expected)
    return graph
