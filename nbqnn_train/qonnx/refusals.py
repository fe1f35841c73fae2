"""Gathers everything that an import refuses and says each kind once, in one line."""

import re

from nbqnn_train.graph.errors import GraphError

__all__ = ["Refusals"]

_SHOWN = 8
_LONGEST = 300


class Refusals:
    """Messages, gathered while a model is read to its end."""

    def __init__(self):
        self._kinds: dict[str, list[str]] = {}

    def add(self, error: GraphError) -> None:
        """Adds a message. Messages that differ in names and numbers only are of one kind."""
        message = str(error)
        kind = re.sub(r"'[^']*'|[-+]?\d[\d.e+-]*", "#", message)
        self._kinds.setdefault(kind, []).append(message)

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def error(self) -> GraphError:
        """One line with the first message of each kind and the number of the others."""
        parts = []
        for messages in list(self._kinds.values())[:_SHOWN]:
            first = messages[0]
            first = first if len(first) <= _LONGEST else first[: _LONGEST - 3] + "..."
            more = len(messages) - 1
            parts.append(first + (f" (and {more} more like it)" if more else ""))
        left = len(self._kinds) - _SHOWN
        if left > 0:
            parts.append(f"and {left} more kinds")
        if len(parts) == 1:
            return GraphError(parts[0])
        return GraphError(f"{len(self._kinds)} kinds of refusals: " + "; ".join(parts))
