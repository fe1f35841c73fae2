"""Computes the fields of commands from places and tiles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from hw.compiler.layouts import best_pixels
from hw.compiler.memory import Buffer
from hw.compiler.taps import cut_rows
from hw.compiler.tiles import FilterTile, RowTile
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import MAX_FIELD, Compute, Load, Memory, Region, Store, Unit
from hw.contract.words import TensorLayout, word_beats

__all__ = ["ChipPlace", "HostPlace", "Strip", "compute_command", "transfers"]

_Transfer = TypeVar("_Transfer", Load, Store)
#: Addresses of words, and steps between them, wrap at this.
_ADDRESSES = 1 << 16


@dataclass(eq=False)
class Strip:
    """``rows`` rows of a root tensor on the chip, from ``first`` on: all of them or a tile's."""

    buffer: Buffer
    layout: TensorLayout
    first: int = 0
    rows: int = 0

    @property
    def plane(self) -> int:
        """Words from one channel group to the next."""
        return self.rows * self.layout.pitch


@dataclass(frozen=True)
class HostPlace:
    """Where a tensor lies in the host's memory: region, and bytes from its base."""

    region: Region
    offset: int


@dataclass(frozen=True)
class ChipPlace:
    """The channels of a view and the rows of one image, in a strip.

    The channels begin with ``channel`` of the strip's tensor. Rows ``above`` to ``above + height``
    of that tensor belong to the image; without ``height``, all rows from ``above`` on.
    """

    strip: Strip
    channel: int
    above: int = 0
    height: int | None = None

    def base(self, config: AcceleratorConfig) -> int:
        """The word of its first channels, row and column."""
        skipped = max(0, self.above - self.strip.first) * self.strip.layout.pitch
        plane = self.channel // config.lanes * self.strip.plane
        return self.strip.buffer.base + plane + skipped

    @property
    def first(self) -> int:
        """The image's row that is at the base."""
        return max(0, self.strip.first - self.above)

    @property
    def rows(self) -> int:
        """Rows of the image in the strip, from the base on."""
        end = self.strip.first + self.strip.rows
        if self.height is not None:
            end = min(end, self.above + self.height)
        return end - self.above - self.first


def transfers(
    config: AcceleratorConfig,
    kind: type[_Transfer],
    layout: TensorLayout,
    place: ChipPlace,
    first: int,
    rows: int,
    host_place: HostPlace,
) -> Iterator[_Transfer]:
    """Loads or stores of ``rows`` rows from ``first`` on, of a tensor with that layout.

    The schedule fills in their layer and what they wait for.
    """
    beats = word_beats(config, Memory.ACT)
    word_bytes = beats * config.axi_beat_bits // 8
    strip = place.strip
    base = place.base(config) + (first - strip.first) * layout.pitch
    groups = layout.groups(config)
    plane = layout.height * layout.width
    whole = rows == strip.rows == layout.height
    for group in range(1 if whole else groups):
        words, count = layout.width, rows * (groups if whole else 1)
        if layout.pitch == layout.width and count * words * beats <= MAX_FIELD:
            words, count = count * words, 1
        offset = host_place.offset + (group * plane + first * layout.width) * word_bytes
        yield kind(
            region=host_place.region,
            memory=Memory.ACT,
            offset=offset // config.axi_ports,
            base=base + group * strip.plane,
            words=words,
            rows=count,
            beats=words * beats,
            base_stride=layout.pitch,
            offset_stride=words * word_bytes // config.axi_ports,
        )


def compute_command(
    config: AcceleratorConfig,
    index: int,
    filter_tile: FilterTile,
    row_tile: RowTile,
    sources: list[ChipPlace],
    target: ChipPlace,
    *,
    last: bool,
) -> Compute:
    """The command for a filter tile and a row tile of layer ``index``, which have positions.

    The row tile counts rows of the image that the places belong to. ``last`` marks the layer's last
    command. The schedule fills in where the weights are and what the command waits for.
    """
    layer, source = filter_tile.layer, sources[0].strip
    out = target.strip
    pitch, out_pitch = source.layout.pitch, out.layout.pitch
    (kernel_h, _), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, left, _, _), (dilation_y, dilation_x) = layer.padding, layer.dilation
    out_step_y, out_step_x = layer.out_step
    _, _, out_width = layer.out_shape
    rows = layer.rows_within(row_tile.first, row_tile.end)
    if layer.taps == 1:
        pixels = best_pixels(config, filter_tile, len(rows) * out_width, pitch, out_pitch)
    else:
        fills = layer.out_first[1] == 0 and layer.out_step == (1, 1)
        most = out_pitch if fills and out.layout.width == out_width else out_width
        pixels, out_width = cut_rows(config, layer, len(rows), filter_tile.chunks, most)
    positions = len(rows) * out_width
    tap_column = layer.taps * dilation_x
    kernel_width = (layer.kernel_steps - 1) * tap_column
    # Word of the strip in which a source's channels begin.
    bases = [place.base(config) for place in sources]
    # What a kernel row moves by: input rows, or from one operand to the other.
    tap_row, row = dilation_y, dilation_y * pitch
    dot = layer.unit is Unit.ARRAY
    loop_plane = factor = 0
    if layer.product:
        factor = bases[1] - bases[0]
        if layer.shared_factor:
            factor = bases[1] + filter_tile.channel // config.lanes * sources[1].strip.plane
    elif len(layer.sources) == 2:
        tap_row, row = 0, bases[1] - bases[0]
        # With a kernel of one row each operand has a pass of its own.
        if kernel_h == 1:
            loop_plane = row
    if dot:
        loop_plane = source.plane
    # Row and column of the first tap of the first window in the strip, and its word.
    corner_row = rows.start * stride_y - top - sources[0].first
    first_row = corner_row + layer.first_tap[0] * tap_row
    first_column = layer.first_tap[1] * dilation_x - left
    in_group = layer.in_group + (0 if dot else filter_tile.channel // config.lanes)
    in_base = bases[0] + corner_row * pitch + first_column + in_group * source.plane
    in_base += layer.first_tap[0] * row
    channel = target.channel + layer.out_channel + filter_tile.channel
    out_row = layer.out_first[0] + rows.start * out_step_y - target.first
    out_base = replace(target, channel=channel).base(config)
    out_base += out_row * out_pitch + layer.out_first[1]
    return Compute(
        layer=index,
        layer_end=int(last),
        unit=layer.unit,
        pixels=pixels,
        chunks=filter_tile.chunks,
        drain_cycles=config.drain_turns(pixels) * filter_tile.chunks,
        filter_groups=filter_tile.filter_groups,
        channel_groups=layer.loops(config.lanes),
        kernel_h=kernel_h,
        kernel_w=layer.kernel_steps,
        positions=positions,
        out_width=out_width,
        in_base=in_base % _ADDRESSES,
        pad=layer.pad,
        in_height=sources[0].rows,
        in_width=source.layout.width,
        row=first_row,
        column=first_column,
        column_step=stride_x,
        row_step=stride_y,
        origin_wrap=(stride_y * pitch - (out_width - 1) * stride_x) % _ADDRESSES,
        out_wrap=(out_step_y * out_pitch - (out_width - 1) * out_step_x) % _ADDRESSES,
        out_step=out_step_x,
        adds=layer.adds + 2 * layer.grows + 4 * (layer.taps > 1),
        tap_column=tap_column,
        tap_row=tap_row,
        tap_row_origin=(row - kernel_width) % _ADDRESSES,
        tap_group_origin=(loop_plane - (kernel_h - 1) * row - kernel_width) % _ADDRESSES,
        group_origin=0 if dot else source.plane,
        weight_step=int(not layer.shared_weight),
        param_step=int(not layer.shared_params),
        sub=channel % config.lanes // config.post_lanes,
        out_base=out_base,
        out_plane=out.plane,
        low=layer.low,
        high=layer.high,
        table=(layer.table is not None) + 2 * layer.table_shift,
        product=layer.product,
        factor=factor % _ADDRESSES,
    )
