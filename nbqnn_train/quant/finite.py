"""Refuses weights that are no numbers."""

import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["check_finite"]


def check_finite(what: str, tensor: Tensor) -> None:
    """Raises :class:`NbqnnError` with the first NaN or infinity of ``tensor`` and its place."""
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return
    at = (~torch.isfinite(tensor)).nonzero()[0].tolist()
    raise NbqnnError(f"{what} must be finite, not {float(tensor[tuple(at)])} at {at}")
