"""The error for a graph that does not fit."""

from nbqnn_train.graph import NbqnnError

__all__ = ["AddendError", "CompileError"]


class CompileError(NbqnnError):
    """A graph that this configuration cannot run; the message names layer, number and limit.

    reasons : one for each layer that is known not to fit; the message has the first one.
    """

    def __init__(self, *reasons: str):
        self.reasons = tuple(dict.fromkeys(reasons))
        more = len(self.reasons) - 1
        others = f" (and {more} more reason{'s' * (more > 1)})" if more else ""
        super().__init__(self.reasons[0] + others)


class AddendError(CompileError):
    """A requantizer's constant that the hardware's addend does not hold."""
