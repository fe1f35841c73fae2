"""Cuts a layer into filter tiles, which share weights, and row tiles, which share input."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from hw.contract.words import ChannelParams, pack_params, pack_vector_weights, pack_weights

__all__ = [
    "FilterTile",
    "RowTile",
    "all_filter_tiles",
    "filter_group_width",
    "filter_tiles",
    "layer_steps",
    "row_tiles",
    "rows_read",
    "span",
    "stream_rows",
    "stream_tiles",
    "tile_rows",
    "weight_words",
]


#: Filter tiles that the memories of weights and params hold: one is computed while the others are
#: loaded. With two, every load waits for the computation before it. But every load costs a round
#: trip to the memory, too, so there are two if four would be short.
_TILES, _FEW_TILES = 4, 2
_SHORT_TILE_STEPS = 128
#: A layer that is streamed by choice is cut into tiles of at least so many cycles, and into at most
#: so many tiles: enough to hide transfers, few enough to fetch their commands in time.
_STREAM_CYCLES = 300
_STREAM_TILES = 8
#: Rows of a tile as a share of those of the one before, at least.
_TAPER = 0.8


@dataclass(frozen=True)
class FilterTile:
    """Filter groups of a layer whose weights are loaded together, for one compute command.

    The filter groups of channel-wise layers are the groups of ``lanes`` channels.
    """

    layer: Layer
    #: First output channel and number of filter groups.
    channel: int
    filter_groups: int
    #: Chunks of post_lanes channels per filter group.
    chunks: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Equal for tiles with the same weights and params."""
        return self.layer.name, self.layer.number, self.channel

    def pack(self, config: AcceleratorConfig) -> tuple[np.ndarray, np.ndarray]:
        """Words of the weight memory (none for pooling) and of the param memory, as bytes."""
        layer = self.layer
        width = filter_group_width(config, layer)
        channels = slice(self.channel, self.channel + self.filter_groups * width)
        if layer.weight is None:
            weights = np.zeros((0, 0), np.uint8)
        elif layer.unit is Unit.ARRAY:
            weights = pack_weights(config, layer.weight[channels])
        else:
            chosen = layer.weight if layer.shared_weight else layer.weight[channels]
            weights = pack_vector_weights(config, chosen, layer.taps)
        params = layer.params
        if not layer.shared_params:
            # A filter group has params for all chunks of its filters.
            count = self.filter_groups * self.chunks * config.post_lanes
            params = _padded(layer.params, channels, count)
        return weights, pack_params(config, params)


def all_filter_tiles(config: AcceleratorConfig, layers: Iterable[Layer]) -> list[list[FilterTile]]:
    """The filter tiles of every layer.

    Raises :class:`CompileError` with all layers that have a filter group that does not fit.
    """
    tiles, reasons = [], []
    for layer in layers:
        try:
            tiles.append(filter_tiles(config, layer))
        except CompileError as error:
            reasons += error.reasons
    if reasons:
        raise CompileError(*reasons)
    return tiles


@dataclass(frozen=True)
class RowTile:
    """Output rows ``first`` to before ``end``, and the input rows that they read."""

    first: int
    end: int
    in_first: int
    in_end: int


def filter_group_width(config: AcceleratorConfig, layer: Layer) -> int:
    """Output channels of a filter group."""
    return config.filters if layer.unit is Unit.ARRAY else config.lanes


def layer_steps(config: AcceleratorConfig, layer: Layer) -> int:
    """Steps of one output."""
    return layer.loops(config.lanes) * layer.kernel[0] * layer.kernel_steps


def weight_words(config: AcceleratorConfig, layer: Layer) -> int:
    """Words of weights of a filter group."""
    return 0 if layer.weight is None else layer_steps(config, layer)


def filter_tiles(config: AcceleratorConfig, layer: Layer) -> list[FilterTile]:
    """The filter tiles of a layer, part by part."""
    return [tile for part in layer.parts for tile in _filter_tiles(config, part)]


def _filter_tiles(config: AcceleratorConfig, layer: Layer) -> list[FilterTile]:
    """The filter tiles of a part. A last filter group of fewer channels is a tile of its own.

    Raises :class:`CompileError` for a filter group that does not fit the memory.
    """
    outputs = layer.out_shape[0]
    width = filter_group_width(config, layer)
    steps = weight_words(config, layer)
    if steps > config.weight_depth:
        raise CompileError(
            f"layer {layer.name}: {steps} words of weights of one filter group must fit "
            f"weight_depth = {config.weight_depth}, which is short by {steps - config.weight_depth}"
        )
    chunks = width // config.post_lanes
    if chunks > config.param_depth:
        raise CompileError(
            f"layer {layer.name}: {chunks} words of parameters of one filter group must fit "
            f"param_depth = {config.param_depth}, which is short by {chunks - config.param_depth}"
        )
    # Weights and params that all groups share take the same room for any number of groups.
    tiles_held = _TILES if config.weight_depth >= _TILES * _SHORT_TILE_STEPS else _FEW_TILES
    by_weights = (
        config.weight_depth // tiles_held // steps if steps and not layer.shared_weight else outputs
    )
    by_params = outputs if layer.shared_params else config.param_depth // tiles_held // chunks
    most = max(1, min(by_weights, by_params))
    if layer.shared_factor:
        # A command has one factor for each channel.
        most = 1
    # Tiles of equal size wait least for each other's words.
    even = -(-(outputs // width) // max(1, -(-(outputs // width) // most)))
    tiles = []
    channel = 0
    while channel < outputs:
        left = outputs - channel
        full = left // width
        if full:
            groups, tile_chunks = min(even, full), chunks
        else:
            groups, tile_chunks = 1, -(-left // config.post_lanes)
        tiles.append(FilterTile(layer, channel, groups, tile_chunks))
        channel += groups * width
    return tiles


def stream_tiles(config: AcceleratorConfig, out_shape: tuple[int, int, int], steps: int) -> int:
    """Number of row tiles of a layer that is cut to hide its transfers, not for lack of room."""
    outputs, height, width = out_shape
    groups = -(-height * width // config.pixels) * -(-outputs // config.filters)
    return max(1, min(_STREAM_TILES, groups * steps // _STREAM_CYCLES))


def stream_rows(config: AcceleratorConfig, layer: Layer) -> int:
    """Output rows of one of these tiles."""
    height = layer.out_shape[1]
    if layer.image is None or any(_rows_of(part) != _rows_of(layer) for part in layer.more):
        # All images at once: they share the weights. Parts have other rows.
        return height
    steps = sum(layer_steps(config, part) for part in layer.parts)
    return -(-height // stream_tiles(config, layer.out_shape, steps))


def _rows_of(part: Layer) -> tuple[int, int, int]:
    """Which rows of the target a part computes."""
    return part.out_shape[1], part.out_first[0], part.out_step[0]


def span(layer: Layer) -> range:
    """The rows of the target from the first one that a layer computes to its last."""
    firsts = [part.out_first[0] for part in layer.parts]
    lasts = [
        first + (part.out_shape[1] - 1) * part.out_step[0]
        for first, part in zip(firsts, layer.parts, strict=True)
    ]
    return range(min(firsts), max(lasts) + 1)


def tile_rows(height: int, count: int, ratio: float = 1.0) -> list[int]:
    """Rows of at most ``count`` tiles that follow each other.

    ratio : cycles of computing a tile for each of loading it. If that is below 1, computing waits
        for loads, and behind the last one a whole tile is left to compute. So each tile has
        ``ratio`` times the rows of the one before, within a limit: it is loaded while that one is
        computed. Otherwise tiles have equally many rows, but for the last one, which has the rest.
    """
    ratio = max(ratio, _TAPER)
    if ratio >= 1:
        rows = -(-height // count)
        return [min(rows, height - first) for first in range(0, height, rows)]
    shares = np.cumsum(ratio ** np.arange(count))
    ends = np.rint(height * shares / shares[-1]).astype(int)
    return [int(rows) for rows in np.diff(ends, prepend=0) if rows]


def row_tiles(layer: Layer, in_height: int, rows: Iterable[int]) -> list[RowTile]:
    """The rows of the target that the layer computes, cut into tiles of so many rows each."""
    tiles = []
    end = span(layer).start
    for count in rows:
        first, end = end, end + count
        in_first, in_end = first, end
        if len(layer.sources) == 1:
            reads = [rows_read(part, part.rows_within(first, end)) for part in layer.parts]
            reads = [part for part in reads if part] or [range(1)]
            in_first = max(0, min(part.start for part in reads))
            in_end = min(in_height, max(part.stop for part in reads))
        # A window may lie in the padding altogether; a tile has at least one row.
        in_first = min(in_first, in_height - 1)
        tiles.append(RowTile(first, end, in_first, max(in_end, in_first + 1)))
    return tiles


def rows_read(part: Layer, rows: range) -> range:
    """The rows of the source, padding included, that some rows of a part read; empty if none.

    rows : of the part, counted from 0.
    """
    if not rows:
        return range(0)
    stride, dilation = part.stride[0], part.dilation[0]
    ends = rows[0] * stride, rows[-1] * stride
    first = part.first_tap[0] * dilation - part.padding[0]
    reach = (part.kernel[0] - 1) * dilation + 1
    return range(min(ends) + first, max(ends) + first + reach)


def _padded(params: ChannelParams, channels: slice, count: int) -> ChannelParams:
    """The params of ``channels``, with zeros behind them up to ``count``."""
    arrays = []
    for values in (params.addend, params.shift, params.multiplier):
        padded = np.zeros(count, np.int64)
        chosen = values[channels][:count]
        padded[: len(chosen)] = chosen
        arrays.append(padded)
    return ChannelParams(*arrays)
