"""The table of rules. A rule reads one operator; the files of rules fill the table."""

from collections.abc import Callable

import torch

__all__ = ["RULES", "rule"]

#: Operator (its overload packet) -> rule: a function of the reader, the node and the operator's
#: arguments by name. It returns a value.
RULES: dict[object, Callable] = {}


def rule(*names: str) -> Callable:
    """Registers a function as the rule for the ATen operators of these names."""

    def register(function: Callable) -> Callable:
        for name in names:
            RULES[getattr(torch.ops.aten, name)] = function
        return function

    return register
