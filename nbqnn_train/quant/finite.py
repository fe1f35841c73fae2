"""Refuses weights that are no numbers."""

import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["check_finite"]


def check_finite(what: str, tensor: Tensor) -> None:
    """Raises :class:`NbqnnError` with the first NaN or infinity of ``tensor`` and its place, and
    for a tensor that is sparse or has no values."""
    if tensor.layout != torch.strided:
        raise NbqnnError(f"{what} must be dense, not {tensor.layout}; remedy: .to_dense()")
    if tensor.is_meta:
        raise NbqnnError(f"{what} must have values, not be on the device 'meta'")
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return
    at = (~torch.isfinite(tensor)).nonzero()[0].tolist()
    raise NbqnnError(f"{what} must be finite, not {float(tensor[tuple(at)])} at {at}")
