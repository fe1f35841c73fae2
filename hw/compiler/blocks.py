"""Chooses the blocks in which the host lays out the image for the first layer."""

from dataclasses import dataclass
from math import gcd

import numpy as np

from hw.compiler.tiles import stream_tiles
from hw.contract.banks import may_meet
from hw.contract.config import AcceleratorConfig
from hw.contract.image_blocks import AxisBlocks, ImageBlocks
from hw.contract.isa import Memory
from hw.contract.words import word_beats

__all__ = ["BlockChoice", "choose_blocks"]

#: Most outputs beside each other whose windows one block covers.
_MOST_PHASES = 4
#: Positions of an image for which that is tried: a small one is loaded while the rest begins.
_LARGE = 4096
#: Cycles, roughly, that a further part takes in each tile beside its steps.
_PART_CYCLES = 100


@dataclass(frozen=True)
class BlockChoice:
    """The blocks, and the window over the image that reads them.

    Each window serves ``phases`` outputs beside each other. It has the columns of all of their
    windows, and moves by as many strides.
    """

    blocks: ImageBlocks
    phases: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


def choose_blocks(
    config: AcceleratorConfig,
    *,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> BlockChoice | None:
    """The blocks with the fewest cycles to load the image and compute the layer.

    None if the image as it is takes no longer. If several blocks take equally long, those with the
    fewest words. Blocks of more than one word are not tried, because a step reads one word. Blocks
    that cover the windows of several outputs are fewer words, but their outputs are computed in
    turns.

    The strip of one tile is loaded while another is computed. So the longer of the two counts in
    full, the other for one tile. Rows that two tiles read are loaded twice.
    """
    channels, out_h, out_w = out_shape
    filter_groups = -(-channels // config.filters)
    chunks = -(-min(channels, config.filters) // config.post_lanes)

    def cost(
        steps: int, rows: int, shared_rows: int, row_words: int, phases: int = 1
    ) -> tuple[int, int]:
        wide = -(-out_w // phases)
        compute = (phases * filter_groups) * min(
            -(-out_h * wide // pixels) * max(steps, config.drain_turns(pixels) * chunks)
            for pixels in range(1, config.pixels + 1)
            if phases == 1 or _apart(config, phases, pixels)
        )
        tiles = stream_tiles(config, (channels, out_h, wide), phases * steps)
        words = (rows + (tiles - 1) * max(0, shared_rows)) * row_words
        load = words * word_beats(config, Memory.ACT)
        cycles = max(compute, load) + min(compute, load) // tiles
        # Further parts begin anew and have weights of their own: that must be worth it.
        cycles += (phases - 1) * tiles * _PART_CYCLES
        return cycles * (4 if phases > 1 else 3), words

    channel_groups = -(-in_shape[0] // config.lanes)
    best = cost(
        channel_groups * kernel[0] * kernel[1],
        in_shape[1],
        kernel[0] - stride[0],
        channel_groups * in_shape[2],
    )
    chosen = None
    large = in_shape[1] * in_shape[2] >= _LARGE
    for rows in _axis_blocks(kernel[0], stride[0], padding[0], out_h):
        # Rows that two neighbouring tiles both read: a window's less its stride.
        window = (rows.taps(kernel[0]) - 1) * rows.spacing // rows.stride + 1
        shared_rows = window - stride[0] // rows.stride
        for phases in range(1, 1 + (min(_MOST_PHASES, out_w) if large else 1)):
            wide, step = kernel[1] + (phases - 1) * stride[1], phases * stride[1]
            for columns in _axis_blocks(wide, step, padding[1], -(-out_w // phases)):
                if rows.block * columns.block * in_shape[0] > config.lanes:
                    continue
                steps = rows.taps(kernel[0]) * columns.taps(wide)
                found = cost(steps, rows.count, shared_rows, columns.count, phases)
                if found < best:
                    blocks = ImageBlocks(channels=in_shape[0], rows=rows, columns=columns)
                    chosen = BlockChoice(blocks, phases, (kernel[0], wide), (stride[0], step))
                    best = found
    return chosen


def _apart(config: AcceleratorConfig, step: int, pixels: int) -> bool:
    """Whether outputs ``step`` apart are drained into different banks."""
    ahead = np.arange(1, min(pixels, config.post_positions)) * step
    return not may_meet(ahead, config.banks).any()


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
