"""hw.contract.image_blocks: the convolution over blocks computes the same sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.compiler.blocks import choose_blocks
from hw.contract.image_blocks import AxisBlocks, ImageBlocks


def convolved(x, weight, stride, dilation, size):
    """Sums (Cout, *size) of ``x`` (C, H, W), which is padded already."""
    _, _, kernel_h, kernel_w = weight.shape
    sums = np.zeros((len(weight), *size), np.int64)
    for y, x_out in np.ndindex(*size):
        for j, k in np.ndindex(kernel_h, kernel_w):
            row, column = y * stride[0] + j * dilation[0], x_out * stride[1] + k * dilation[1]
            sums[:, y, x_out] += weight[:, :, j, k] @ x[:, row, column]
    return sums


@st.composite
def axes(draw):
    """(kernel, stride, padding, size, outputs, blocks): any that the class allows."""
    kernel, stride = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, kernel - 1))
    size = draw(st.integers(max(1, kernel - padding), 12))
    outputs = draw(st.integers(1, (size + padding - kernel) // stride + 1))
    block = draw(st.integers(1, 8))
    spacing = draw(st.integers(1, block))
    steps = [step for step in range(1, stride + 1) if not stride % step and not spacing % step]
    step = draw(st.sampled_from(steps))
    taps = next(n for n in range(1, 8) if (n - 1) * spacing + block >= kernel)
    count = ((outputs - 1) * stride + (taps - 1) * spacing) // step + 1
    blocks = AxisBlocks(block=block, spacing=spacing, stride=step, padding=padding, count=count)
    assert blocks.taps(kernel) == taps
    return kernel, stride, padding, size, outputs, blocks


@settings(max_examples=200)
@given(rows=axes(), columns=axes(), channels=st.integers(1, 3), seed=st.integers(0, 1 << 30))
def test_same_sums(rows, columns, channels, seed):
    rng = np.random.default_rng(seed)
    kernel, stride, padding, size, outputs, axes = zip(rows, columns, strict=True)
    x = rng.integers(-128, 128, (channels, *size))
    weight = rng.integers(-4, 5, (2, channels, *kernel))
    # Strides may leave the last rows out; outputs fewer than possible leave out more.
    ends = [max(0, 8 * 12 - low - high) for low, high in zip(padding, size, strict=True)]
    padded = np.pad(x, [(0, 0), *zip(padding, ends, strict=True)])
    blocks = ImageBlocks(channels=channels, rows=axes[0], columns=axes[1])
    blocked = blocks.apply(x)
    assert blocked.shape == blocks.shape
    over_blocks = blocks.block_weight(weight)
    assert np.abs(over_blocks).sum() == np.abs(weight).sum()
    geometry = blocks.geometry(stride)
    assert np.array_equal(
        convolved(blocked, over_blocks, geometry["stride"], geometry["dilation"], outputs),
        convolved(padded, weight, stride, (1, 1), outputs),
    )


def test_every_weight_in_one_block():
    """Three blocks of three, two apart: the next block has what two have in common."""
    blocks = AxisBlocks(block=3, spacing=2, stride=2, padding=3, count=114)
    assert blocks.kernel_positions(7).tolist() == [[0, 1, -1], [2, 3, -1], [4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "size", "outputs", "kernel", "stride", "padding", "taps", "words"),
    [
        # Seven columns and three rows fill 63 of 64 lanes.
        ("zcu102-8bit", 224, 112, 7, 2, 3, 3, 114 * 112),
        # Four blocks of 7 × 3 would do with eight taps, but for four times the words.
        ("zcu102-8bit", 224, 55, 11, 4, 2, 9, 57 * 57),
        ("zcu102-16bit", 224, 112, 7, 2, 3, 7, 229 * 112),
    ],
)
def test_choice(name, size, outputs, kernel, stride, padding, taps, words):
    """Of ResNet-50 and AlexNet; and 7 × 7 where 10 positions fit a word."""
    choice = choose_blocks(
        PRESETS[name],
        in_shape=(3, size, size),
        out_shape=(64, outputs, outputs),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding,) * 4,
    )
    blocks = choice.blocks
    assert (choice.phases, choice.kernel, choice.stride) == (1, (kernel,) * 2, (stride,) * 2)
    assert blocks.rows.taps(kernel) * blocks.columns.taps(kernel) == taps
    assert blocks.shape[1] * blocks.shape[2] == words


@pytest.mark.parametrize(
    ("outputs", "stride", "phases", "shape"),
    [
        # Of MobileNets: 3 x 7 positions have the windows of three outputs, in 63 of 64 lanes.
        (112, 2, 3, (63, 112, 38)),
        # Of VGG-16: 3 x 6 positions have those of four.
        (224, 1, 4, (54, 224, 56)),
    ],
)
def test_one_word_for_several_outputs(outputs, stride, phases, shape):
    choice = choose_blocks(
        PRESETS["zcu102-8bit"],
        in_shape=(3, 224, 224),
        out_shape=(32, outputs, outputs),
        kernel=(3, 3),
        stride=(stride, stride),
        padding=(1, 1, 1, 1),
    )
    assert (choice.phases, choice.kernel) == (phases, (3, 3 + (phases - 1) * stride))
    assert choice.stride == (stride, phases * stride)
    assert choice.blocks.shape == shape


def test_no_fold_for_many_channels():
    assert (
        choose_blocks(
            PRESETS["tiny"],
            in_shape=(5, 8, 8),
            out_shape=(8, 8, 8),
            kernel=(3, 3),
            stride=(1, 1),
            padding=(1, 1, 1, 1),
        )
        is None
    )
