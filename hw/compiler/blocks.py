"""Chooses the blocks in which the host lays out the image for the first layer."""

from math import gcd

from hw.compiler.tiles import stream_tiles
from hw.contract.config import AcceleratorConfig
from hw.contract.image_blocks import AxisBlocks, ImageBlocks
from hw.contract.isa import Memory
from hw.contract.words import word_beats

__all__ = ["choose_blocks"]


def choose_blocks(
    config: AcceleratorConfig,
    *,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> ImageBlocks | None:
    """The blocks with the fewest cycles to load the image and compute the layer.

    None if the image as it is takes no longer. If several blocks take equally long, those with the
    fewest words. Blocks of more than one word are not tried, because a step reads one word.

    The strip of one tile is loaded while another is computed. So the longer of the two counts in
    full, the other for one tile. Rows that two tiles read are loaded twice.
    """
    channels, out_h, out_w = out_shape
    filter_groups = -(-channels // config.filters)
    chunks = -(-min(channels, config.filters) // config.post_lanes)

    def cost(steps: int, rows: int, shared_rows: int, row_words: int) -> tuple[int, int]:
        compute = filter_groups * min(
            -(-out_h * out_w // pixels) * max(steps, config.drain_turns(pixels) * chunks)
            for pixels in range(1, config.pixels + 1)
        )
        tiles = stream_tiles(config, out_shape, steps)
        words = (rows + (tiles - 1) * max(0, shared_rows)) * row_words
        load = words * word_beats(config, Memory.ACT)
        return max(compute, load) + min(compute, load) // tiles, words

    channel_groups = -(-in_shape[0] // config.lanes)
    best = cost(
        channel_groups * kernel[0] * kernel[1],
        in_shape[1],
        kernel[0] - stride[0],
        channel_groups * in_shape[2],
    )
    blocks = None
    for rows in _axis_blocks(kernel[0], stride[0], padding[0], out_h):
        # Rows that two neighbouring tiles both read: a window's less its stride.
        window = (rows.taps(kernel[0]) - 1) * rows.spacing // rows.stride + 1
        shared_rows = window - stride[0] // rows.stride
        for columns in _axis_blocks(kernel[1], stride[1], padding[1], out_w):
            if rows.block * columns.block * in_shape[0] > config.lanes:
                continue
            steps = rows.taps(kernel[0]) * columns.taps(kernel[1])
            found = cost(steps, rows.count, shared_rows, columns.count)
            if found < best:
                best, blocks = found, ImageBlocks(channels=in_shape[0], rows=rows, columns=columns)
    return blocks


def _axis_blocks(kernel: int, stride: int, padding: int, outputs: int) -> list[AxisBlocks]:
    """For every size of block and number of taps, the layout with the fewest blocks."""
    found: dict[tuple[int, int], AxisBlocks] = {}
    for block in range(1, max(kernel, stride) + 1):
        for spacing in range(1, block + 1):
            taps = 1 + -(-max(0, kernel - block) // spacing)
            # With one tap only every stride-th position begins a block.
            step = stride if taps == 1 else gcd(stride, spacing)
            blocks = AxisBlocks(
                block=block,
                spacing=step if taps == 1 else spacing,
                stride=step,
                padding=padding,
                count=((outputs - 1) * stride + (taps - 1) * spacing) // step + 1,
            )
            if blocks.count < found.get((block, taps), blocks).count or (block, taps) not in found:
                found[block, taps] = blocks
    return list(found.values())
