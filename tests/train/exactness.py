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
    outputs = [
        torch.from_numpy(np.ldexp(codes[output].astype(float), types[output].exponent))
        for output in graph.outputs
    ]
    returned = pytree.tree_leaves(network(*tensors))
    arranged = network.origin.results(network, tuple(tuple(x.shape[1:]) for x in tensors))
    for part, result in zip(arranged, returned, strict=True):
        np.testing.assert_array_equal(part.of(outputs).numpy(), result.detach().numpy())
    return graph
