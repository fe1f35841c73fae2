"""Parameters that a layer needs for itself before its weights are rounded."""

import copy
from collections.abc import Container

from torch import nn

from nbqnn_train.quant.network import QuantNetwork

__all__ = ["give_biases", "unshare"]


def unshare(network: QuantNetwork) -> None:
    """Gives every layer weights of its own: what is best depends on the layer's inputs."""
    for op in network.ops.values():
        if getattr(op, "norm", None) is not None:
            op.norm = copy.deepcopy(op.norm)
    for layer in network.weighted_layers().values():
        layer.weight = copy.deepcopy(layer.weight)
        layer.bias = copy.deepcopy(layer.bias)


def give_biases(network: QuantNetwork, names: Container[str] | None = None) -> None:
    """Gives a bias of zero to every layer with neither bias nor batch norm.

    names : only to layers whose bias is among these keys of a state dictionary.
    """
    for name, layer in network.weighted_layers().items():
        wanted = names is None or f"ops.{name}.bias" in names
        if wanted and layer.bias is None and layer.norm is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)))
