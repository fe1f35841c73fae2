"""Chooses how many taps of the first layer's kernel are folded into its input channels."""

from math import gcd

from hw.config import AcceleratorConfig
from hw.image_fold import AxisFold, ImageFold

__all__ = ["choose_fold"]


def choose_fold(
    config: AcceleratorConfig,
    *,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> ImageFold | None:
    """The folding with the fewest cycles to load the image and compute the layer, or None.

    Cycles are those of the array's steps plus those of the image's way into the memory. A folding
    whose blocks need more than one word is not tried: words are what a step reads.
    """
    channels, out_h, out_w = out_shape[0], *out_shape[1:]
    filter_groups = -(-channels // config.filters)
    groups = -(-out_h * out_w // config.pixels)
    word_beats = -(-config.act_word_bits // config.axi_beat_bits)
    drain = config.pixels * -(-min(channels, config.filters) // config.post_lanes)

    def cycles(steps: int, words: int) -> int:
        return groups * filter_groups * max(steps, drain) + words * word_beats

    word_groups = -(-in_shape[0] // config.lanes)
    best, fold = (
        cycles(word_groups * kernel[0] * kernel[1], word_groups * in_shape[1] * in_shape[2]),
        None,
    )
    for rows in _axis_folds(kernel[0], stride[0], padding[0], out_h):
        for columns in _axis_folds(kernel[1], stride[1], padding[1], out_w):
            if rows.block * columns.block * in_shape[0] > config.lanes:
                continue
            steps = -(-kernel[0] // rows.block) * -(-kernel[1] // columns.block)
            cost = cycles(steps, rows.count * columns.count)
            if cost < best:
                best, fold = cost, ImageFold(channels=in_shape[0], rows=rows, columns=columns)
    return fold


def _axis_folds(kernel: int, stride: int, padding: int, outputs: int) -> list[AxisFold]:
    folds = []
    for block in range(1, max(kernel, stride) + 1):
        taps = -(-kernel // block)
        # With one tap only every stride-th position begins a block.
        step = stride if taps == 1 else gcd(stride, block)
        count = ((outputs - 1) * stride + (taps - 1) * block) // step + 1
        folds.append(AxisFold(block=block, step=step, padding=padding, count=count))
    return folds
