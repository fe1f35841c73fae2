"""Shapes of all values of a network for inputs of one size."""

from collections.abc import Callable

import torch

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.network import QuantNetwork

__all__ = ["Shape", "Shapes", "value_shapes"]

#: Of a value, and of all inputs, without the batch.
Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


def value_shapes(network: QuantNetwork, input_shapes: Shapes) -> dict[str, Shape]:
    """Shape of each step's value without the batch; the network computes a zero image."""
    shapes: dict[str, Shape] = {}

    def remember(name: str) -> Callable:
        def hook(module, inputs, output):
            shapes[name] = tuple(output.shape[1:])

        return hook

    hooks = [op.register_forward_hook(remember(name)) for name, op in network.ops.items()]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval().compute_like(input_shapes)
    except NbqnnError:
        raise
    except RuntimeError as error:  # what torch raises where shapes do not fit
        raise _unfit(input_shapes, str(error).splitlines()[0]) from None
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return shapes


def _unfit(shapes: Shapes, reason: str) -> NbqnnError:
    shown = " and ".join(map(str, shapes))
    return NbqnnError(f"Input shape {shown} must fit the network: {reason}")
