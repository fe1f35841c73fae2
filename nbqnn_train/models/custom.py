"""A user's own network: ``FILE.py:function`` or ``package.module:function``."""

import inspect

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.reading.wrappers import unwrapped
from nbqnn_train.user_code import load_function

__all__ = ["custom_model"]

#: Names of the parameters that a user's function may have.
_OFFERED = ("classes", "channels")


def custom_model(name: str, classes: int | None, channels: int) -> nn.Module:
    """The network that the function ``name`` returns.

    The function may have parameters ``classes`` (outputs) and ``channels`` (of the input; of a
    vector the features). It is called with those that it has. One that has neither returns the
    network for the data set at hand. With ``classes`` None the function's own default counts.
    Where the network returns a single tensor in a dict, tuple or data class, it returns that tensor
    here. Half and double precision become single precision.
    """
    function = load_function(name, "Model")
    if isinstance(function.function, nn.Module):
        raise NbqnnError(
            f"Model {name!r} must be a function that returns a network, not a network; "
            "remedy: def build(): return ..."
        )
    try:
        parameters = inspect.signature(function.function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have none
        parameters = ()
    others = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and (p.name not in _OFFERED or p.kind is p.POSITIONAL_ONLY)
    ]
    if others:
        raise NbqnnError(
            f"Model {name!r} must need no more than classes and channels, not {', '.join(others)}; "
            "remedy: a function that calls it with them"
        )
    offered = {"classes": classes, "channels": channels}
    wanted = {p.name for p in parameters}
    if classes is None and "classes" in wanted:
        if any(p.name == "classes" and p.default is p.empty for p in parameters):
            raise NbqnnError(f"Model {name!r} must be told its number of classes")
        wanted.remove("classes")
    network = function(**{key: offered[key] for key in _OFFERED if key in wanted})
    if not isinstance(network, nn.Module):
        raise NbqnnError(
            f"Model {name!r} must return a torch.nn.Module, not {type(network).__name__}"
        )
    for path, part in network.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise NbqnnError(
                f"Model {name!r} must return a network in Python, not TorchScript"
                f"{f' at {path!r}' if path else ''}; remedy: the module that was scripted or traced"
            )
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in network.parameters()):
        network.float()
    # What wraps a network is taken off where it is quantized.
    for part in dict.fromkeys((network, unwrapped(network))):
        part.register_forward_hook(_only_tensor)
    return network


def _only_tensor(network: nn.Module, inputs: tuple, output):
    """A hook: the one tensor that ``output`` holds; ``output`` itself where it holds several."""
    tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    return tensors[0] if len(tensors) == 1 else output
