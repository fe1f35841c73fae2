"""How the host lays out an image whose channels are too few to fill the lanes.

An image has one or three channels, the array 16 to 64 lanes. The host therefore lays the image out
differently: a word holds a block of ``block_h x block_w`` neighbouring positions, all channels of
each. Where blocks are as large as the stride this is space-to-depth; larger ones overlap. The
convolution over blocks has a smaller kernel and computes the same sums.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["AxisFold", "ImageFold"]


@dataclass(frozen=True, kw_only=True)
class AxisFold:
    """One axis of a folding: block j begins at position ``j * step - padding``."""

    #: Positions in a block.
    block: int
    #: From one block to the next.
    step: int
    #: Zeros before the first position.
    padding: int
    #: Blocks.
    count: int

    def gather(self, size: int) -> np.ndarray:
        """Positions (count, block) of the ``size`` there are; -1 stands for a zero."""
        index = np.arange(self.count)[:, None] * self.step + np.arange(self.block) - self.padding
        return np.where((index >= 0) & (index < size), index, -1)


@dataclass(frozen=True, kw_only=True)
class ImageFold:
    """How the host lays out an image of (channels, H, W)."""

    channels: int
    rows: AxisFold
    columns: AxisFold

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the folded image: (block rows * block columns * channels, H', W')."""
        depth = self.rows.block * self.columns.block * self.channels
        return depth, self.rows.count, self.columns.count

    def apply(self, codes: np.ndarray) -> np.ndarray:
        """Codes (channels, H, W), int64, as (C', H', W')."""
        channels, height, width = codes.shape
        padded = np.zeros((channels, height + 1, width + 1), codes.dtype)
        padded[:, :height, :width] = codes
        rows, columns = self.rows.gather(height), self.columns.gather(width)
        # (channels, H', block rows, W', block columns)
        blocks = padded[:, rows][:, :, :, columns]
        return np.ascontiguousarray(blocks.transpose(2, 4, 0, 1, 3)).reshape(self.shape)

    def fold_weight(self, weight: np.ndarray) -> np.ndarray:
        """Weights (Cout, channels, KH, KW) of the convolution over blocks: (Cout, C', KH', KW')."""
        outputs, channels, kernel_h, kernel_w = weight.shape
        taps_h, taps_w = -(-kernel_h // self.rows.block), -(-kernel_w // self.columns.block)
        padded = np.zeros(
            (outputs, channels, taps_h * self.rows.block, taps_w * self.columns.block), np.int64
        )
        padded[:, :, :kernel_h, :kernel_w] = weight
        split = padded.reshape(
            outputs, channels, taps_h, self.rows.block, taps_w, self.columns.block
        )
        return split.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, -1, taps_h, taps_w)

    def geometry(self, stride: tuple[int, int]) -> dict:
        """Stride and dilation of the convolution over blocks."""
        axes = (self.rows, self.columns)
        return {
            "stride": tuple(s // axis.step for s, axis in zip(stride, axes, strict=True)),
            "dilation": tuple(max(1, axis.block // axis.step) for axis in axes),
        }
