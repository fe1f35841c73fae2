"""What a graph that does not fit is refused with."""

from nbqnn_train.graph import NbqnnError

__all__ = ["CompileError"]


class CompileError(NbqnnError):
    """A graph that this configuration cannot run; the message names layer, number and limit."""
