"""Checks the batches that a user calibrates or quantizes with, and leaves labels out."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.finite import check_finite
from nbqnn_train.quant.network import QuantNetwork

__all__ = ["Batches", "as_tensor", "checked_inputs", "read_inputs"]

#: Inputs alone, or beside their labels as a ``DataLoader`` gives them.
Batches = Iterable[Tensor | np.ndarray | tuple | list]


def checked_inputs(
    network: QuantNetwork, batches: Batches
) -> Iterator[Tensor | tuple[Tensor, ...]]:
    """The inputs (N, ...) of ``batches``, on the device and in the dtype of ``network``; a tuple of
    them where the network takes several.

    A batch is a tensor or an array, or a tuple or list that begins with as many as the network
    takes, such as (images, labels). Raises :class:`NbqnnError` for the first batch that is
    something else, is empty, is not of real numbers (pixels as uint8 are not what a network was
    trained with), is not finite, or does not fit the network.
    """
    if isinstance(batches, Tensor | np.ndarray) or not isinstance(batches, Iterable):
        kind = type(batches).__name__
        raise NbqnnError(f"Batches must be a list or loader of tensors, not one {kind}")
    parameter = next(network.parameters(), torch.zeros(()))
    count = len(network.reading.inputs)
    shapes = None
    for number, batch in enumerate(batches):
        what = f"Batch {number} of the inputs"
        parts = tuple(batch) if isinstance(batch, tuple | list) and batch else (batch,)
        parts = tuple(as_tensor(part) for part in parts[:count])
        if len(parts) < count:
            raise NbqnnError(f"{what} must begin with {count} tensors, not be {_kind(batch)}")
        for part in parts:
            _check_tensor(what, batch, part)
        found = tuple(part.shape[1:] for part in parts)
        if shapes is not None and found != shapes:
            shown, before = (" and ".join(str(tuple(s)) for s in side) for side in (found, shapes))
            raise NbqnnError(
                f"{what} must hold inputs of shape {before} like those before, not {shown}"
            )
        shapes = found
        parts = tuple(part.detach().to(parameter) for part in parts)
        if number == 0:
            _check_fit(what, network, parts)
        yield parts if count > 1 else parts[0]


def as_tensor(part: object) -> object:
    """An array of numbers as a tensor; anything else as it is."""
    kind = part.dtype.kind if isinstance(part, np.ndarray) else ""
    if kind == "f":
        part = part.astype(np.float64 if part.itemsize > 4 else np.float32)
    return torch.from_numpy(np.ascontiguousarray(part)) if kind in tuple("fiub") else part


def _check_tensor(what: str, batch: object, part: object) -> None:
    if not isinstance(part, Tensor):
        raise NbqnnError(
            f"{what} must be a tensor, or a pair that begins with one, not {_kind(batch)}"
        )
    if not part.is_floating_point():
        raise NbqnnError(
            f"{what} must hold real numbers as the network was trained with, not {part.dtype}"
        )
    if part.dim() < 2 or not len(part):
        raise NbqnnError(
            f"{what} must hold inputs along its first axis, not be of shape {tuple(part.shape)}"
        )
    check_finite(what, part)


def read_inputs(network: QuantNetwork, batches: Batches, most: int) -> list[tuple[Tensor, ...]]:
    """The first inputs of ``batches``, checked, in batches as they come: at most ``most``."""
    found: list[tuple[Tensor, ...]] = []
    for batch in checked_inputs(network, batches):
        parts = batch if isinstance(batch, tuple) else (batch,)
        found.append(tuple(part[:most] for part in parts))
        most -= len(parts[0])
        if most <= 0:
            break
    return found


def _kind(batch: object) -> str:
    if isinstance(batch, tuple | list):
        return f"{type(batch).__name__} of {', '.join(type(part).__name__ for part in batch[:3])}"
    return type(batch).__name__


def _check_fit(what: str, network: QuantNetwork, parts: tuple[Tensor, ...]) -> None:
    """Raises :class:`NbqnnError` where ``network`` cannot take inputs of these shapes."""
    shape = " and ".join(str(tuple(part.shape)) for part in parts)
    for part, read in zip(parts, network.reading.inputs.values(), strict=True):
        # PyTorch takes three dimensions for one image without a batch.
        if len(read) == 3 and part.dim() != 4:
            raise NbqnnError(f"{what} must be of shape (N, C, H, W), not {shape}")
    was_training, was_calibrating = network.training, network.mode.calibrating
    network.mode.calibrating = True
    network.eval()
    try:
        with torch.no_grad():
            network(*(part[:1] for part in parts))
    except NbqnnError:
        raise
    except RuntimeError as error:  # what torch raises where shapes do not fit
        line = str(error).splitlines()[0]
        raise NbqnnError(f"{what} must fit the network, not be of shape {shape}: {line}") from None
    finally:
        network.mode.calibrating = was_calibrating
        network.train(was_training)
        for quantizer in network.quantizers():
            quantizer.reset()
