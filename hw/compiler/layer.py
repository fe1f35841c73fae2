"""Layers, each a job of the compute engine, and the tensors between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from hw.compiler.views import View
from hw.contract.image_blocks import ImageBlocks
from hw.contract.isa import Product, Unit
from hw.contract.words import ChannelParams

__all__ = ["HostRows", "Layer", "Lowered"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One job of the compute engine: it computes a tensor from one or two others.
    weight : (Cout, Cin, KH, KW) for the array, None for the maximum unit and for products.
        Channel-wise sums have (C, T, KH, KW), or (1, T, KH, KW) if all channels share it: there are
        T passes over the window, one for each digit of a factor.
    sources : one tensor, or two for channel-wise sums. With two the kernel is (2, 1), a row for
        each, or (1, 1): T is 2 then, a pass for each. Of a product the second one is the factor; a
        pass reads it, the others have a digit each.
    passes : over the window, of channel-wise sums; 0 for as many as ``weight`` says.
    low, high, pad : stored codes.
    stride : of the window from position to position; zero or negative in a layer without weights
        that writes one position several times, or from the last one to the first.
    padding : (top, left, bottom, right). The window of the first position begins ``top`` rows
        above and ``left`` columns before the source's; below zero, inside it.
    out_shape : channels, rows and columns that the layer computes.
    out_channel, out_first, out_step : where in the target that is: its first channel, its first
        position, and rows and columns from one position to the next.
    in_group : the first channel group of the source that is read.
    first_tap : row and column of the first tap in the whole kernel, of which a part may have some.
    one_group : all positions are computed at once, which one command can.
    adds : the sums are added to those that the part before left behind, which had the same
        positions; ``grows``: multiplied by the radix first.
    taps : of a kernel row that a step takes, 1 or ``depthwise_taps`` of the configuration. With
        several the positions of a group are in one row, beside each other in the source, or alone.
    number : tells the weights and params of the parts of a layer apart.
    more : the other parts, if this is the first of several. They have the same sources and target,
        and run with it, row tile by row tile.
    table : as :func:`hw.contract.words.pack_table` takes it: what stored codes become in the end;
        None for as they are. ``table_shift``: bits by which a code is moved up first, for knots.
    macs : nominal multiply-accumulates: those of the mathematical operation, padding included.
    image : the image of the batch that the layer computes; None for all of them: at once, as rows
        of ``out_shape``, or image after image with each load of weights.
    images : how many images it computes in that way; ``out_shape`` is that of one image.
    """

    name: str
    sources: tuple[str, ...]
    target: str
    unit: Unit
    weight: np.ndarray | None
    product: Product = Product.NONE
    passes: int = 0
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
    table: np.ndarray | None = None
    table_shift: int = 0
    out_shape: tuple[int, int, int]
    out_channel: int = 0
    out_first: tuple[int, int] = (0, 0)
    out_step: tuple[int, int] = (1, 1)
    in_group: int = 0
    first_tap: tuple[int, int] = (0, 0)
    one_group: bool = False
    adds: bool = False
    grows: bool = False
    taps: int = 1
    number: int = 0
    more: tuple["Layer", ...] = ()
    macs: int = 0
    image: int | None = 0
    images: int = 1

    @property
    def source(self) -> str:
        """The tensor whose positions the window walks over."""
        return self.sources[0]

    @property
    def parts(self) -> tuple["Layer", ...]:
        """The layer itself and its other parts, in the order in which they run."""
        return (self, *self.more)

    @property
    def kernel_steps(self) -> int:
        """Steps of a kernel row."""
        return -(-self.kernel[1] // self.taps)

    def everywhere(self, **fields: object) -> "Layer":
        """The layer with these fields, in all of its parts."""
        more = tuple(replace(part, **fields) for part in self.more)
        return replace(self, **fields, more=more)

    def rows_within(self, first: int, end: int) -> range:
        """Its rows, counted from 0, that are rows ``first`` to before ``end`` of the target."""
        origin, step = self.out_first[0], self.out_step[0]
        begin = max(0, -(-(first - origin) // step))
        return range(begin, max(begin, min(self.out_shape[1], -(-(end - origin) // step))))

    @property
    def shared_weight(self) -> bool:
        one = self.weight is not None and len(self.weight) == 1 < self.out_shape[0]
        return self.unit is Unit.SUM and one

    @property
    def shared_factor(self) -> bool:
        """Whether the layer is a product with one factor for all positions of a channel."""
        return Product.SHARED in self.product

    def loops(self, lanes: int) -> int:
        """How often an output goes over its window, ``lanes`` input channels at a time."""
        match self.unit:
            case Unit.ARRAY:
                return -(-self.weight.shape[1] // lanes)
            case Unit.SUM:
                return self.passes or self.weight.shape[1]
            case Unit.MAX:
                return 1


@dataclass(frozen=True)
class HostRows:
    """Rows of a tensor in the host's memory that a strip on the chip has, too.

    channel : of the strip, with which the tensor's channels begin.
    first : the tensor's row that is the strip's first one.
    rows : of the tensor, those that are moved.
    """

    tensor: str
    channel: int
    first: int
    rows: range


@dataclass(frozen=True)
class Lowered:
    """Layers in order, and the tensors between them.

    shapes, offsets : of all stored tensors. The ``batch`` images stand one above the other.
    aliases : flattened tensor -> the stored tensor that it is.
    constants : stored tensor that no layer computes -> its codes (C, H, W).
    views : tensors that are part of a larger one.
    blocks : how the host lays out the input; None if it leaves it as it is.
    whole : tensors that, if they are on the chip, are there with the rows of all images.
    kept : strip -> where it is stored, behind the layer that writes it.
    brought : strip -> what is loaded into it, before the first layer that writes it.
    """

    layers: tuple[Layer, ...]
    shapes: dict[str, tuple[int, int, int]]
    offsets: dict[str, int]
    aliases: dict[str, str]
    constants: dict[str, np.ndarray]
    views: dict[str, View]
    blocks: ImageBlocks | None
    batch: int = 1
    whole: frozenset[str] = frozenset()
    kept: Mapping[str, HostRows] = field(default_factory=dict)
    brought: Mapping[str, tuple[HostRows, ...]] = field(default_factory=dict)

    @property
    def on_host(self) -> frozenset[str]:
        """Tensors that are in the host's memory because strips are stored there or loaded."""
        loaded = (one for rows in self.brought.values() for one in rows)
        return frozenset(one.tensor for one in (*self.kept.values(), *loaded))

    def memory_of(self, name: str) -> str:
        """The stored tensor behind a node of the graph."""
        return self.aliases.get(name, name)

    def view(self, name: str) -> View:
        """The view that a stored tensor is; of itself if it is a root."""
        return self.views.get(name, View(name, 0))
