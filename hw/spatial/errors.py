"""The error for a graph that no circuit can be made of."""

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["SpatialError"]


class SpatialError(NbqnnError):
    """A graph that no circuit can be made of; the message names the layer and the remedy."""
