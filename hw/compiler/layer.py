"""What a graph becomes: layers, each a job of the compute engine, and tensors between them."""

from dataclasses import dataclass

import numpy as np

from hw.compiler.views import View
from hw.contract.image_blocks import ImageBlocks
from hw.contract.isa import Unit
from hw.contract.words import ChannelParams

__all__ = ["Layer", "Lowered"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One job of the compute engine: a whole tensor from one or two others.

    weight : (Cout, Cin, KH, KW) for the array, None for the maximum unit. Channel-wise sums have
        (C, T, KH, KW), or (1, T, KH, KW) if all channels share it: there are T passes over the
        window, one for each digit of a factor.
    sources : one tensor, or two for channel-wise sums. With two the kernel is (2, 1), a row for
        each, or (1, 1): T is 2 then, a pass for each.
    low, high, pad : stored codes.
    macs : nominal multiply-accumulates: those of the mathematical operation, padding included.
    image : the image of the batch that the layer computes; None for all of them at once, which are
        then rows of ``out_shape``.
    """

    name: str
    sources: tuple[str, ...]
    target: str
    unit: Unit
    weight: np.ndarray | None
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    params: ChannelParams
    #: All chunks of channels use the same word of parameters.
    shared_params: bool = False
    low: int
    high: int
    pad: int
    out_shape: tuple[int, int, int]
    macs: int = 0
    image: int | None = 0

    @property
    def source(self) -> str:
        """The tensor whose positions the window walks over."""
        return self.sources[0]

    @property
    def shared_weight(self) -> bool:
        return self.unit is Unit.SUM and len(self.weight) == 1 < self.out_shape[0]


@dataclass(frozen=True)
class Lowered:
    """Layers in order, and the tensors between them.

    shapes, offsets : of all stored tensors. The ``batch`` images stand one above the other.
    aliases : flattened tensor -> the stored tensor that it is.
    views : tensors that are part of a larger one.
    blocks : how the host lays out the input; None for as it is.
    whole : tensors that are on the chip with the rows of all images, if at all.
    """

    layers: tuple[Layer, ...]
    shapes: dict[str, tuple[int, int, int]]
    offsets: dict[str, int]
    aliases: dict[str, str]
    views: dict[str, View]
    blocks: ImageBlocks | None
    batch: int = 1
    whole: frozenset[str] = frozenset()

    def memory_of(self, name: str) -> str:
        """The stored tensor behind a node of the graph."""
        return self.aliases.get(name, name)

    def view(self, name: str) -> View:
        """Where a stored tensor is: in a larger one, or in itself."""
        return self.views.get(name, View(name, 0))
