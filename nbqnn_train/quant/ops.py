"""The operations of a quantized network that have no weights.

Every operation is called with the list of its input values, the list of their formats (None while
the network is not calibrated) and ``record(suffix, value)``, which in exact evaluation receives the
values of those nodes of the graph that lie inside the operation. Values are real numbers ``code *
step``.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.fold import MULTIPLIER_LOG2_SHIFT_MODE, Requantization
from nbqnn_train.quant.formats import Format, fake_quantize
from nbqnn_train.quant.max_pooling import max_pool
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.weights import power_of_two
from nbqnn_train.quant.window import Window

__all__ = [
    "AddOp",
    "AvgPoolOp",
    "ClipOp",
    "ConcatOp",
    "FlattenOp",
    "InputOp",
    "MaxPoolOp",
    "TrainingOp",
    "average_multiplier",
    "block_name",
    "mean_stages",
    "power_rule",
    "window_sums",
]

#: Words that lie further apart in a row are not read at once.
_APART = 2


def rescale(acc: Tensor, acc_exponent: int, bound: int, out: ActivationQuantizer) -> Tensor:
    """Accumulators of one step for all channels to values of ``out``.

    ``bound`` is the largest magnitude of an accumulator's code.
    """
    multiplier, shift = power_rule(acc_exponent, out.format)
    ones = torch.ones(1, dtype=torch.int64, device=acc.device)
    rule = Requantization(
        ones * multiplier, ones * 0, ones * shift, bound * multiplier + (1 << shift)
    )
    return out.requantize(acc, power_of_two(ones * acc_exponent, torch.float64), rule)


def power_rule(acc_exponent: int, target: Format) -> tuple[int, int]:
    """Multiplier and shift that take a step of ``2**acc_exponent`` to the step of ``target``."""
    shift = target.exponent - acc_exponent
    return (1 << max(-shift, 0), max(shift, 0))


class InputOp(nn.Module):
    """Quantizes the real input; unsigned where no calibration value is negative."""

    def __init__(self, out: ActivationQuantizer):
        super().__init__()
        self.out = out

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        if self.out.mode.calibrating or self.training:
            return self.out(value)
        target = self.out.format
        return fake_quantize(value, target.step, target.low, target.high)


class ClipOp(nn.Module):
    """ReLU and its bounded forms on an activation that something else reads as well."""

    def __init__(self, limits: tuple[float, float]):
        super().__init__()
        self.limits = limits

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        if source is None:
            return value.clamp(*self.limits)
        low, high = source.code_range(*self.limits)
        return value.clamp(low * source.step, high * source.step)


class MaxPoolOp(nn.Module):
    """Largest value of each window; padding never wins."""

    def __init__(self, window: Window):
        super().__init__()
        self.window = window

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        kernel, stride, (top, left, bottom, right) = self.window.at(*value.shape[2:])
        if (top, left) == (bottom, right) and 2 * top <= kernel[0] and 2 * left <= kernel[1]:
            return max_pool(value, kernel, stride, (top, left))
        padded = F.pad(value, (left, right, top, bottom), value=-math.inf)
        return max_pool(padded, kernel, stride, (0, 0))


class TrainingOp(nn.Module):
    """What is active in training only, such as dropout; elsewhere it gives back what it gets."""

    def __init__(self, module: nn.Module, mode: Mode):
        super().__init__()
        self.module = module
        self.mode = mode

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        return self.module(value) if self.training and not self.mode.calibrating else value


class FlattenOp(nn.Module):
    """(N, C, H, W) to (N, C*H*W)."""

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        return value.flatten(1)


def average_multiplier(window: int) -> tuple[int, int]:
    """(multiplier, shift) with ``multiplier / 2**shift`` near ``1 / window``.

    The multiplier is at most 2**8. It is the nearest with which sums of 8-bit codes fit
    accumulators of 20 bits. If that one is off by more than 1/128, sums may take 24 bits, as in
    larger presets. If that does not help, it is the nearest of all. Of equally near ones the
    smallest is taken: a power of two has multiplier 1.
    """
    shifts = range(window.bit_length() - 1, window.bit_length() + 8)
    pairs = [(math.floor((1 << shift) / window + 0.5), shift) for shift in shifts]
    for acc_bits in (20, 24, None):
        limit = 1 << 8
        if acc_bits is not None:
            limit = min(limit, ((1 << acc_bits - 1) - 1) // (255 * window))
        fitting = [pair for pair in pairs if 1 <= pair[0] <= limit]
        off = [abs(Fraction(multiplier * window, 1 << shift) - 1) for multiplier, shift in fitting]
        if off and (min(off) <= Fraction(1, 128) or acc_bits is None):
            break
    return fitting[off.index(min(off))]


def mean_stages(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Heights and widths of the blocks that are averaged first, stage by stage.

    Only where sums of 8-bit codes of the whole window would not fit accumulators of 20 bits, and
    windows lie side by side. Blocks of powers of two come first: their means are exact before they
    are rounded. Wide ones are columns first, then rows, because words beside each other are read
    at once.
    """
    if kernel != stride or any(padding):
        return []
    stages, (height, width) = [], kernel
    while not _fits_20_bits(height * width):
        block = (height & -height, width & -width)
        if block == (1, 1):
            block = _odd_block(height, width)
        if block == (1, 1):
            break
        wide = block[0] > 1 and block[1] > _APART
        stages += [(block[0], 1), (1, block[1])] if wide else [block]
        height, width = height // block[0], width // block[1]
    return stages


def _odd_block(height: int, width: int) -> tuple[int, int]:
    """A row or column of the window, else the longest part of one, with sums that fit."""
    if min(height, width) > 1:
        for block in ((1, width), (height, 1)):
            if _fits_20_bits(block[0] * block[1]):
                return block
    for size in range(max(height, width) // 3, 1, -2):
        if _fits_20_bits(size):
            if width % size == 0:
                return (1, size)
            if height % size == 0:
                return (size, 1)
    return (1, 1)


def _fits_20_bits(window: int) -> bool:
    return 255 * window * average_multiplier(window)[0] < 1 << 19


def window_sums(value: Tensor, kernel, stride, padding: tuple[int, int, int, int]) -> Tensor:
    """Sums over windows of (N, C, H, W); padding (top, left, bottom, right) counts as zeros."""
    top, left, bottom, right = padding
    if any(padding):
        value = F.pad(value, (left, right, top, bottom))
    return F.avg_pool2d(value, kernel, stride, divisor_override=1)


class AvgPoolOp(nn.Module):
    """Mean of each window.

    A map that already has the size asked for passes as it is, as in AlexNet and VGG.
    Windows that are no power of two use the integer approximation of one over their size that
    the graph holds, in training too. Padding counts as zeros. Large windows are averaged in blocks
    first, whose means are rounded to the format of the input.
    """

    def __init__(self, out: ActivationQuantizer, window: Window):
        super().__init__()
        self.out = out
        self.window = window
        #: Whether the last map that came by was already of the size asked for.
        self.copies = False

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        kernel, stride, padding = self.window.at(*value.shape[2:])
        self.copies = self.is_copy(kernel, stride, padding)
        if self.copies and (source is None or source == self.out.format):
            if self.out.mode.calibrating:
                self.out.observe(value)
            return value
        for stage, blocks in enumerate(mean_stages(kernel, stride, padding)):
            value = _block_means(value, blocks, source, stage, record)
            kernel = stride = (kernel[0] // blocks[0], kernel[1] // blocks[1])
        multiplier, shift = average_multiplier(kernel[0] * kernel[1])
        total = window_sums(value, kernel, stride, padding)
        acc = total * (multiplier / (1 << shift))
        if self.out.mode.calibrating or self.training:
            return self.out(acc)
        if record is not None:
            record("", acc)
        exponent = source.exponent - shift
        bound = kernel[0] * kernel[1] * multiplier * source.magnitude
        return rescale(acc, exponent, bound, self.out)

    def is_copy(
        self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, ...]
    ) -> bool:
        """Whether every window is one position and nothing is clipped, so that nothing changes."""
        return (
            kernel == stride == (1, 1)
            and not any(padding)
            and self.out.limits == (-math.inf, math.inf)
        )

    def finest_exponent(self, sources: list[Format]) -> int:
        # Known without the window: a shift of 0 is the least that any window has.
        return sources[0].exponent - MULTIPLIER_LOG2_SHIFT_MODE


def block_name(stage: int) -> str:
    """What the names of a stage's nodes have behind the pooling's."""
    return f".blocks{stage or ''}"


def _block_means(
    value: Tensor, blocks: tuple[int, int], source: Format | None, stage: int, record
) -> Tensor:
    """Means of blocks side by side, in steps of the input's format once that is known."""
    multiplier, shift = average_multiplier(blocks[0] * blocks[1])
    sums = window_sums(value, blocks, blocks, (0, 0, 0, 0))
    acc = sums * (multiplier / (1 << shift))
    if source is None:
        return acc
    means = fake_quantize(acc, source.step, source.low, source.high)
    if record is not None:
        record(block_name(stage), acc)
        record(block_name(stage) + ".out", means)
    return means


class AddOp(nn.Module):
    """Sum of two activations, with the activation function that follows."""

    def __init__(self, out: ActivationQuantizer):
        super().__init__()
        self.out = out

    def forward(self, values, sources, record=None) -> Tensor:
        if self.out.mode.calibrating or self.training:
            return self.out.total(*values)
        acc = values[0] + values[1]
        if record is not None:
            record("", acc)
        exponent = min(source.exponent for source in sources)
        bound = sum(source.magnitude << (source.exponent - exponent) for source in sources)
        return rescale(acc, exponent, bound, self.out)

    def finest_exponent(self, sources: list[Format]) -> int:
        return min(source.exponent for source in sources) - MULTIPLIER_LOG2_SHIFT_MODE


class ConcatOp(nn.Module):
    """Joins activations along channels; each is brought to the common format first."""

    def __init__(self, out: ActivationQuantizer):
        super().__init__()
        self.out = out

    def forward(self, values, sources, record=None) -> Tensor:
        if self.out.mode.calibrating or self.training:
            return self.out(torch.cat(values, dim=1))
        joined = []
        for index, (value, source) in enumerate(zip(values, sources, strict=True)):
            if source != self.out.format:
                value = rescale(value, source.exponent, source.magnitude, self.out)
                if record is not None:
                    record(f".operand{index}", value)
            joined.append(value)
        return torch.cat(joined, dim=1)

    def finest_exponent(self, sources: list[Format]) -> int:
        return max(source.exponent for source in sources) - MULTIPLIER_LOG2_SHIFT_MODE
