"""Errors that a user can cause."""

__all__ = ["GraphError", "NbqnnError"]


class NbqnnError(ValueError):
    """Bad input of any kind: one line that names the thing, its value and what is allowed."""


class GraphError(NbqnnError):
    """A graph, a graph file or an input that breaks the contract of the integer graph."""
