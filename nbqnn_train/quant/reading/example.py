"""Finds an example input for a module for which none was given."""

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nbqnn_train.quant.reading.operations import Reading
from nbqnn_train.quant.reading.program import Example, quiet
from nbqnn_train.quant.reading.read import read_network
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal
from nbqnn_train.quant.reading.wrappers import uncompiled

__all__ = ["read_without_example"]

#: Heights and widths that are tried first; all others up to the largest follow.
_USUAL = (32, 28, 64, 8, 16, 96, 128, 224, 48, 56, 160, 192, 227, 256, 299)
_LARGEST = 260
#: Sizes of maps that are not square, as of spectrograms for keyword spotting.
_RECTANGLES = ((49, 10), (40, 98), (98, 40), (64, 32), (32, 64), (101, 40), (40, 101), (128, 64))
_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8000, 16000, 32, 16, 8)
#: Most positions of a map with which a module is run to see whether the size fits.
_COMPUTED = 64 * 64
#: Number of readings that are tried before the first refusal is reported.
_READINGS = 8
_REMEDY = "give convert an example input, convert(module, config, example=x)"


def read_without_example(module: nn.Module) -> tuple[Example, Reading]:
    """An example of a size that fits ``module``, and its reading. ``module`` is a private copy.

    Raises :class:`NetworkRefused` if no size fits, or with everything that is not supported.
    """
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    refused: NetworkRefused | None = None
    read = 0
    for shape in _shapes(module):
        if not _fits(module, shape, dtype):
            continue
        example = Example.of(torch.zeros(2, *shape, dtype=dtype))
        try:
            return example, read_network(module, example)
        except NetworkRefused as error:
            refused = refused or error
            read += 1
            if read == _READINGS or not all(r.kind == "shape" for r in error.refusals):
                break
    if refused is not None:
        raise refused
    name = type(module).__name__
    raise NetworkRefused(
        name,
        [Refusal("input", "", "", "", "no usual size of input fits it", _REMEDY)],
    )


def _shapes(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes that are tried, without the batch, the likeliest first."""
    squares = [(s, s) for s in dict.fromkeys((*_USUAL, *range(1, _LARGEST + 1)))]
    for kind, size in _entries(module):
        if kind == "vector":
            yield (size,)
        elif kind == "series":
            yield from ((size, length) for length in _LENGTHS)
        else:
            yield from ((size, *square) for square in (*squares, *_RECTANGLES))


def _entries(module: nn.Module) -> list[tuple[str, int]]:
    """Kind and number of channels or features of the first layers of each kind, in order."""
    found: list[tuple[str, int]] = []
    for part in module.modules():
        entry = None
        if isinstance(part, nn.Conv2d):
            entry = ("map", part.in_channels)
        elif isinstance(part, nn.Conv1d):
            entry = ("series", part.in_channels)
        elif isinstance(part, nn.Linear):
            entry = ("vector", part.in_features)
        elif isinstance(part, nn.BatchNorm2d):
            entry = ("map", part.num_features)
        elif isinstance(part, nn.BatchNorm1d):
            entry = ("vector", part.num_features)
        if entry is not None and entry[0] not in {kind for kind, _ in found}:
            found.append(entry)
    weight = next((p for p in module.parameters() if p.dim() == 4), None)
    if weight is not None:
        found.append(("map", weight.shape[1]))
    return [*found, ("map", 3), ("map", 1), ("vector", 16)]


def _fits(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Whether the module takes inputs of ``shape``."""
    # For small maps computing is faster than following the shapes.
    computed = math.prod(shape[1:]) <= _COMPUTED
    mode = nullcontext() if computed else FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with quiet(), uncompiled(), mode, torch.no_grad():
            module(torch.zeros(2, *shape, dtype=dtype))
    except Exception:  # a module raises anything where the size does not fit
        return False
    return True
