"""How the host lays out an image that has too few channels to fill the lanes.

An image has one or three channels, the array 16 to 64 lanes. So the host lays the image out in
blocks: a word holds ``block_h x block_w`` neighbouring positions with all their channels. Blocks as
large as the stride are space-to-depth, larger blocks overlap. The convolution over blocks has a
smaller kernel and computes the same sums. Its taps are blocks that cover the kernel. Where two taps
overlap, the second one has the weights.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["AxisBlocks", "ImageBlocks"]


@dataclass(frozen=True, kw_only=True)
class AxisBlocks:
    """One axis of an image in blocks: block j begins at position ``j * stride - padding``.

    ``stride`` divides ``spacing``. With several taps ``spacing`` is at most ``block``.
    """

    #: Positions in a block.
    block: int
    #: Positions from one tap of the convolution over blocks to the next.
    spacing: int
    #: Positions from one block to the next.
    stride: int
    #: Zeros before the first position.
    padding: int
    #: Number of blocks.
    count: int

    def taps(self, kernel: int) -> int:
        """How many blocks cover a kernel of ``kernel`` positions."""
        return 1 + -(-max(0, kernel - self.block) // self.spacing)

    def kernel_positions(self, kernel: int) -> np.ndarray:
        """The kernel's positions in each block, (taps, block); -1 stands for no position.

        Each position stands in one block only, the last one that covers it.
        """
        taps = self.taps(kernel)
        index = np.arange(taps)[:, None] * self.spacing + np.arange(self.block)
        own = (np.arange(self.block) < self.spacing) | (np.arange(taps) == taps - 1)[:, None]
        return np.where(own & (index < kernel), index, -1)

    def gather(self, size: int) -> np.ndarray:
        """Which of ``size`` positions are in each block, (count, block); -1 stands for a zero."""
        index = np.arange(self.count)[:, None] * self.stride + np.arange(self.block) - self.padding
        return np.where((index >= 0) & (index < size), index, -1)


@dataclass(frozen=True, kw_only=True)
class ImageBlocks:
    """How the host lays out an image of (channels, H, W)."""

    channels: int
    rows: AxisBlocks
    columns: AxisBlocks

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the image in blocks: (block rows * block columns * channels, H', W')."""
        depth = self.rows.block * self.columns.block * self.channels
        return depth, self.rows.count, self.columns.count

    def apply(self, codes: np.ndarray) -> np.ndarray:
        """Lays out codes (channels, H, W), int64, as (C', H', W')."""
        channels, height, width = codes.shape
        padded = np.zeros((channels, height + 1, width + 1), codes.dtype)
        padded[:, :height, :width] = codes
        rows, columns = self.rows.gather(height), self.columns.gather(width)
        # (channels, H', block rows, W', block columns)
        blocks = padded[:, rows][:, :, :, columns]
        return np.ascontiguousarray(blocks.transpose(2, 4, 0, 1, 3)).reshape(self.shape)

    def block_weight(self, weight: np.ndarray) -> np.ndarray:
        """Turns weights (Cout, channels, KH, KW) into those over blocks, (Cout, C', KH', KW')."""
        outputs, channels, kernel_h, kernel_w = weight.shape
        # Index -1, no position, takes a zero from the added last row or column.
        padded = np.zeros((outputs, channels, kernel_h + 1, kernel_w + 1), np.int64)
        padded[:, :, :kernel_h, :kernel_w] = weight
        rows = self.rows.kernel_positions(kernel_h)
        columns = self.columns.kernel_positions(kernel_w)
        # (outputs, channels, KH', block rows, KW', block columns)
        split = padded[:, :, rows][:, :, :, :, columns]
        return split.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, -1, len(rows), len(columns))

    def geometry(self, stride: tuple[int, int]) -> dict:
        """Stride and dilation of the convolution over blocks."""
        axes = (self.rows, self.columns)
        return {
            "stride": tuple(s // axis.stride for s, axis in zip(stride, axes, strict=True)),
            "dilation": tuple(axis.spacing // axis.stride for axis in axes),
        }
