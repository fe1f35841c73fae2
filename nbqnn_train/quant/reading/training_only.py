"""Keeps operations that are active in training only, such as dropout.

The graph of a module in evaluation mode does not hold them. So modules without parameters that
return their operand are marked while the graph is recorded. Calls of dropout as a function are
found among the operators.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

__all__ = [
    "FunctionalDropout",
    "acts_in_training",
    "drops_elements",
    "kept_for_training",
    "mark_functional_dropout",
    "marked_key",
    "out_of_place",
]

aten = torch.ops.aten
_DROPOUTS = {
    aten.dropout: "dropout",
    aten.feature_dropout: "feature_dropout",
    aten.alpha_dropout: "alpha_dropout",
    aten.feature_alpha_dropout: "feature_alpha_dropout",
    aten.dropout_: "dropout",
    aten.feature_dropout_: "feature_dropout",
    aten.alpha_dropout_: "alpha_dropout",
    aten.feature_alpha_dropout_: "feature_alpha_dropout",
}


@torch.library.custom_op("nbqnn::training_only", mutates_args=())
def _training_only(value: Tensor, key: int) -> Tensor:
    return value.clone()


@_training_only.register_fake
def _(value: Tensor, key: int) -> Tensor:
    return torch.empty_like(value)


class FunctionalDropout(nn.Module):
    """``torch.nn.functional.dropout`` or one of its forms, as a module.

    form : "dropout", "feature_dropout" (whole channels), "alpha_dropout" or
        "feature_alpha_dropout".
    """

    def __init__(self, form: str, p: float):
        super().__init__()
        self.form, self.p = form, p

    def forward(self, value: Tensor) -> Tensor:
        return getattr(torch, self.form)(value, self.p, self.training)

    def extra_repr(self) -> str:
        return f"{self.form}, p={self.p}"


def marked_key(node: fx.Node) -> int | None:
    """The key of the module that ``node`` marks; None for other nodes."""
    return node.args[1] if node.target is torch.ops.nbqnn.training_only.default else None


def mark_functional_dropout(
    graph: fx.Graph, found: dict[int, nn.Module], module: nn.Module
) -> None:
    """Replaces calls of dropout in ``module`` by marks; ``found`` gets what they do in training."""
    for node in list(graph.nodes):
        form = _DROPOUTS.get(getattr(node.target, "overloadpacket", None))
        if form is None or node.args[2]:  # active in evaluation, too: the rules refuse it
            continue
        operand, p = node.args[0], float(node.args[1])
        if p == 0 or _within_marked(node, found, module):
            node.replace_all_uses_with(operand)
        else:
            key = len(found)
            found[key] = FunctionalDropout(form, p)
            with graph.inserting_after(node):
                mark = graph.call_function(torch.ops.nbqnn.training_only.default, (operand, key))
            mark.meta = dict(node.meta)
            node.replace_all_uses_with(mark)
            if node.target._schema.is_mutable:
                _replace_later_uses(graph, operand, mark)
        graph.erase_node(node)


def _within_marked(node: fx.Node, found: dict[int, nn.Module], module: nn.Module) -> bool:
    """Whether a marked module does what ``node`` does: the module that calls the node."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()), ("",))[0] if stack else ""
    caller = module.get_submodule(path.partition("@")[0])
    keys = [marked_key(user) for user in node.users]
    return bool(keys) and all(key is not None and found.get(key) is caller for key in keys)


def _replace_later_uses(graph: fx.Graph, node: fx.Node, mark: fx.Node) -> None:
    later = False
    for user in graph.nodes:
        if later:
            user.replace_input_with(node, mark)
        later = later or user is mark


@contextmanager
def kept_for_training(module: nn.Module) -> Iterator[dict[int, nn.Module]]:
    """Marks calls of parts of ``module`` that are active in training only, in graphs exported
    within.

    Yields those parts by their key.
    """
    found: dict[int, nn.Module] = {}
    hooks = []
    for part in module.modules():
        if _may_be(part):
            hooks.append(part.register_forward_hook(_mark(found)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _may_be(part: nn.Module) -> bool:
    """Whether ``part`` may act in training: without submodules and parameters, and no Identity."""
    if any(True for _ in part.children()) or any(True for _ in part.parameters()):
        return False
    return type(part) is not nn.Identity


def _mark(found: dict[int, nn.Module]):
    def hook(part: nn.Module, inputs: tuple, output):
        given = inputs[0] if len(inputs) == 1 else None
        if output is not given or not isinstance(given, Tensor):
            return None
        key = len(found)
        found[key] = part
        return torch.ops.nbqnn.training_only(output, key)

    return hook


def acts_in_training(part: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether ``part`` does something in training with a tensor of ``shape``."""
    value = torch.ones(shape)
    part.train()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            result = part(value)
            return result is not value or not bool((result == 1).all())
    finally:
        part.eval()


def drops_elements(part: nn.Module) -> bool:
    """Whether ``part`` is a dropout that treats all elements alike, whatever their shape."""
    if isinstance(part, FunctionalDropout):
        return part.form in ("dropout", "alpha_dropout")
    return type(part) in (nn.Dropout, nn.AlphaDropout)


def out_of_place(part: nn.Module) -> nn.Module:
    """A copy that is not in-place: others may read its operand, too."""
    copied = copy.deepcopy(part)
    if getattr(copied, "inplace", False):
        copied.inplace = False
    return copied
