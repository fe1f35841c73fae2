"""Finds the names of an exported graph that stand for one tensor. So in-place operations are read
as PyTorch executes them."""

import torch
from torch import fx

__all__ = ["Aliases", "is_in_place", "is_plain"]

aten = torch.ops.aten

#: In-place operations that change the whole tensor and have a form that is not in-place.
_NAMES = """
    relu_ relu6_ hardtanh_ clamp_ clamp_min_ clamp_max_ add_ sub_ mul_ div_ neg_ sigmoid_ tanh_
    hardswish_ silu_ hardsigmoid_ leaky_relu_ elu_ mish_
"""
_IN_PLACE = {getattr(aten, name) for name in _NAMES.split()}
#: Operations whose result is the operand itself, whole and in its shape.
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
            return True  # getitem of the tuple that an operator returned
        if _packet(node) in _SAME or _packet(node) in (aten.reshape, aten.flatten):
            return True
        return any(value.alias_info is not None for value in schema.returns)

    def same_tensor(self, node: fx.Node) -> list[fx.Node]:
        """All names so far of the tensor of ``node``, without its views."""
        return [other for other in self._group[node] if other not in self._views]

    def views(self, node: fx.Node) -> list[fx.Node]:
        """All views so far that share memory with ``node``."""
        return [other for other in self._group[node] if other in self._views]


def is_plain(graph: fx.Graph) -> bool:
    """Whether all in-place operations can be read as ordinary ones whose result replaces the
    operand. They can if each changes all of a tensor and no view of the tensor is used later."""
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
