"""Batches that somebody hands over to calibrate or quantize with: checked, labels left out."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.finite import check_finite
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["Batches", "checked_inputs"]

#: Inputs alone, or beside their labels as a ``DataLoader`` gives them.
Batches = Iterable[Tensor | tuple[Tensor, ...] | list[Tensor]]


def checked_inputs(network: QuantNetwork, batches: Batches) -> Iterator[Tensor]:
    """The inputs (N, ...) of ``batches``, on the device and in the dtype of ``network``.

    A batch is a tensor, or a tuple or list that begins with one, such as (images, labels). Raises
    :class:`NbqnnError` for the first batch that is something else, is empty, is not of real numbers
    (pixels as uint8 are not what a network was trained with), is not finite, or does not fit the
    network.
    """
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        kind = type(batches).__name__
        raise NbqnnError(f"Batches must be a list or loader of tensors, not one {kind}")
    parameter = next(network.parameters(), torch.zeros(()))
    shape = None
    for number, batch in enumerate(batches):
        what = f"Batch {number} of the inputs"
        images = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(images, Tensor):
            raise NbqnnError(
                f"{what} must be a tensor, or a pair that begins with one, not {_kind(batch)}"
            )
        if not images.is_floating_point():
            raise NbqnnError(
                f"{what} must hold real numbers as the network was trained with, not {images.dtype}"
            )
        if images.dim() < 2 or not len(images):
            raise NbqnnError(
                f"{what} must hold inputs along its first axis, not be of shape "
                f"{tuple(images.shape)}"
            )
        if shape is not None and images.shape[1:] != shape:
            raise NbqnnError(
                f"{what} must hold inputs of shape {tuple(shape)} like those before, not "
                f"{tuple(images.shape[1:])}"
            )
        shape = images.shape[1:]
        check_finite(what, images)
        if number == 0:
            _check_fit(what, network, images.to(parameter))
        yield images.detach().to(parameter)


def _kind(batch: object) -> str:
    if isinstance(batch, tuple | list):
        return f"{type(batch).__name__} of {', '.join(type(part).__name__ for part in batch[:3])}"
    return type(batch).__name__


def _check_fit(what: str, network: QuantNetwork, images: Tensor) -> None:
    """Raises :class:`NbqnnError` where ``network`` cannot take ``images`` of this shape."""
    shape = tuple(images.shape)
    entries = {step.name for step in network.steps if not step.inputs}
    for step in network.steps:
        op = network.ops[step.name]
        if not (isinstance(op, WeightedLayer) and entries.intersection(step.inputs)):
            continue
        # PyTorch takes three dimensions for one image without a batch.
        if op.geometry is not None and images.dim() != op.weight.dim():
            raise NbqnnError(f"{what} must be of shape (N, C, H, W), not {shape}")
    was_training, was_calibrating = network.training, network.mode.calibrating
    network.mode.calibrating = True
    network.eval()
    try:
        with torch.no_grad():
            network(images[:1])
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
