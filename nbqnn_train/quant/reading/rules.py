"""The table of how operators are read, which the files of rules fill."""

from collections.abc import Callable

import torch

__all__ = ["RULES", "rule"]

#: By operator (its overload packet) how it is read: a function of the reader, the node and the
#: operator's arguments by name, that gives a value. The files of rules fill it.
RULES: dict[object, Callable] = {}


def rule(*names: str) -> Callable:
    """Registers a function as how the ATen operators of these names are read."""

    def register(function: Callable) -> Callable:
        for name in names:
            RULES[getattr(torch.ops.aten, name)] = function
        return function

    return register
