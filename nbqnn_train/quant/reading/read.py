"""Reads a module."""

from torch import nn

# Importing the files of rules fills the reader's table.
from nbqnn_train.quant.reading import (  # noqa: F401
    arithmetic,
    conditions,
    elementwise,
    layers,
    limits,
    order,
    padding,
    pointwise,
    resize,
    shapes,
    windows,
)
from nbqnn_train.quant.reading.operations import Reading
from nbqnn_train.quant.reading.program import Example
from nbqnn_train.quant.reading.reader import read_at
from nbqnn_train.quant.reading.simplify import simplify

__all__ = ["read_network"]


def read_network(module: nn.Module, example: Example) -> Reading:
    """The reading of ``module`` for inputs like ``example``.

    ``module`` is a private copy in evaluation mode. Raises
    :class:`~nbqnn_train.quant.reading.refusals.NetworkRefused` with all that is not supported.
    """
    reading = read_at(module, example)
    simplify(reading, type(module).__name__)
    return reading
