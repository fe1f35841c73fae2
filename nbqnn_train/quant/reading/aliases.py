"""Which names of an exported graph stand for one tensor, so that in-place operations are read as
PyTorch executes them."""

import torch
from torch import fx

__all__ = ["Aliases", "is_in_place", "is_plain"]

aten = torch.ops.aten

#: In-place operations that change the whole tensor and are nothing else than their namesakes.
_NAMES = """
    relu_ relu6_ hardtanh_ clamp_ clamp_min_ clamp_max_ add_ sub_ mul_ div_ neg_ sigmoid_ tanh_
    hardswish_ silu_ hardsigmoid_ leaky_relu_ elu_ mish_
"""
_IN_PLACE = {getattr(aten, name) for name in _NAMES.split()}
#: The result is the operand itself, whole and in its shape.
_SAME = {aten.detach, aten.alias, aten.dropout, aten.feature_dropout, aten.contiguous, aten.to}


def _packet(node: fx.Node):
    return getattr(node.target, "overloadpacket", None)


def is_in_place(node: fx.Node) -> bool:
    """Whether the operator of ``node`` changes one of its operands."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


class Aliases:
    """Groups of nodes that share memory.

    Nodes are visited in order by :meth:`visit`. A group's members are whole (the same tensor under
    another name) or views of it.
    """

    def __init__(self):
        self._group: dict[fx.Node, list[fx.Node]] = {}
        self._views: set[fx.Node] = set()

    def visit(self, node: fx.Node) -> None:
        operand = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        shares = operand is not None and (is_in_place(node) or self._may_share(node))
        if not shares or operand not in self._group:
            self._group[node] = [node]
            return
        group = self._group[operand]
        group.append(node)
        self._group[node] = group
        whole = is_in_place(node) or _packet(node) in _SAME
        if not whole or operand in self._views:
            self._views.add(node)

    def _may_share(self, node: fx.Node) -> bool:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return True  # getitem of what an operator returned
        if _packet(node) in _SAME or _packet(node) in (aten.reshape, aten.flatten):
            return True
        return any(value.alias_info is not None for value in schema.returns)

    def same_tensor(self, node: fx.Node) -> list[fx.Node]:
        """All names so far of the tensor that ``node`` stands for, views left out."""
        return [other for other in self._group[node] if other not in self._views]

    def views(self, node: fx.Node) -> list[fx.Node]:
        """Views so far that share memory with ``node``."""
        return [other for other in self._group[node] if other in self._views]


def is_plain(graph: fx.Graph) -> bool:
    """Whether every in-place operation can be read as an operation whose result takes the place of
    the operand: it changes all of a tensor of which no view is in use."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    aliases = Aliases()
    for node in graph.nodes:
        if is_in_place(node):
            operand = node.args[0]
            if _packet(node) not in _IN_PLACE or not isinstance(operand, fx.Node):
                return False
            group = [*aliases.same_tensor(operand), *aliases.views(operand)]
            others = group if operand in aliases.views(operand) else aliases.views(operand)
            for other in others:
                if other is not operand and any(order[user] > order[node] for user in other.users):
                    return False
        aliases.visit(node)
    return True
