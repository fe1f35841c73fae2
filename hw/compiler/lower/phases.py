"""Sums whose window differs from position to position: in phases, or at the borders."""

from collections.abc import Iterator

import numpy as np

from hw.compiler.layer import Layer
from hw.compiler.lower.channelwise import factor_digits
from hw.compiler.lower.context import Context
from hw.compiler.lower.dot import dense_weight
from hw.compiler.lower.moves import region_runs
from hw.compiler.lower.runs import Run, even_runs, grid, joined, runs_of
from hw.compiler.lower.sums import summing_layer
from hw.contract.isa import Unit
from nbqnn_train.graph import (
    Bilinear2d,
    ConvTranspose2d,
    Interpolate2d,
    RegionAverage2d,
    Requantize,
)
from nbqnn_train.graph.operators.resize import bilinear_taps
from nbqnn_train.graph.operators.transposed import phase_taps

__all__ = ["bilinear", "interpolation", "region_average", "transposed"]


def transposed(context: Context, node: ConvTranspose2d, requantize: Requantize) -> Layer:
    """A convolution for each phase: the outputs that meet the same taps of the kernel."""
    context.check_weight_bits(node)
    groups, depth = node.groups, node.weight.shape[1]
    channel_wise = groups > 1 and node.weight.shape[:2] == (groups, 1)
    weight = node.weight if channel_wise else dense_weight(node)
    source = context.memory_of(node.input)
    count, *sizes = context.shapes[requantize.name]
    down, across = (_phases(node, axis, size) for axis, size in enumerate(sizes))
    parts = []
    for rows, row_taps in down:
        for columns, column_taps in across:
            # Outputs that meet no tap are sums of nothing.
            own = np.zeros((len(weight), 1, 1, 1), np.int64)
            if row_taps and column_taps:
                own = weight[:, :, row_taps][:, :, :, column_taps]
            terms = depth * len(row_taps) * len(column_taps)
            parts.append(
                summing_layer(
                    context,
                    node,
                    requantize,
                    (source,),
                    Unit.SUM if channel_wise else Unit.ARRAY,
                    own,
                    macs=count * terms * rows.count * columns.count,
                    dilation=tuple(
                        int(d // np.gcd(d, s))
                        for d, s in zip(node.dilation, node.stride, strict=True)
                    ),
                    number=len(parts),
                    **grid(count, rows, columns),
                )
            )
    return joined(parts)


def _phases(node: ConvTranspose2d, axis: int, size: int) -> Iterator[tuple[Run, list[int]]]:
    """The phases of an axis with their taps, in the order of the positions that they meet."""
    stride, before = int(node.stride[axis]), int(node.padding[axis])
    dilation, kernel = int(node.dilation[axis]), node.weight.shape[2 + axis]
    phases = []
    for phase in range(min(stride, size)):
        # The last tap meets the first position.
        taps = phase_taps(kernel, stride, before, dilation, phase)[::-1]
        first = (phase + before - taps[0] * dilation) // stride if taps else 0
        phases.append((Run(phase, stride, -(-(size - phase) // stride), first, 1), taps))
    return phases


def bilinear(context: Context, node: Bilinear2d, requantize: Requantize) -> Layer:
    """Up to four positions, as often as each phase takes them."""
    source = context.memory_of(node.input)
    _, *sizes = context.shapes[source]
    down, across = (
        list(_interpolated(size, int(factor)))
        for size, factor in zip(sizes, node.factor, strict=True)
    )
    return _channel_wise(
        context,
        node,
        requantize,
        [
            (rows, columns, np.outer(row_counts, column_counts))
            for rows, row_counts in down
            for columns, column_counts in across
        ],
    )


def interpolation(context: Context, node: Interpolate2d, requantize: Requantize) -> Layer:
    """The neighbours of each row or column; those with equal shares in even steps are one part."""
    axis, (_, *sizes) = int(node.axis), context.shapes[requantize.name]
    other = Run(0, 1, sizes[1 - axis], 0, 1)
    parts = []
    for run, shares in even_runs(_neighbours(node)):
        factors = np.expand_dims(np.array(shares), 1 - axis)
        parts.append((other, run, factors) if axis else (run, other, factors))
    return _channel_wise(context, node, requantize, parts)


def _neighbours(node: Interpolate2d) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Each output, where its window begins, and its shares but for zeros at the ends."""
    for out, (first, shares) in enumerate(zip(node.first.tolist(), node.share, strict=True)):
        (taken,) = shares.nonzero()
        begin, end = (taken[0], taken[-1] + 1) if len(taken) else (0, 1)
        yield out, first + int(begin), tuple(shares[begin:end].tolist())


def _interpolated(size: int, factor: int) -> Iterator[tuple[Run, tuple[int, ...]]]:
    """Runs of an axis, and how often they take the positions of their window."""
    positions, counts = (values.tolist() for values in bilinear_taps(size, factor))
    for phase in range(factor):
        windows = []
        for out in range(phase, size * factor, factor):
            (first, second), (some, more) = positions[out], counts[out]
            kind = (some, more) if more and second > first else (some + more,)
            windows.append((out, first, kind))
        yield from runs_of(windows, factor)


def region_average(context: Context, node: RegionAverage2d, requantize: Requantize) -> Layer:
    """The sum of every region times its factor."""
    parts = []
    for rows, height in region_runs(node.rows):
        for columns, width in region_runs(node.columns):
            factors = node.multiplier[
                rows.out : rows.out + rows.count, columns.out : columns.out + columns.count
            ]
            whole = np.ones((height, width), np.int64)
            if (factors == factors[0, 0]).all():
                parts.append((rows, columns, whole * factors[0, 0]))
                continue
            parts += [
                (_single(rows, row), _single(columns, column), whole * factors[row, column])
                for row in range(rows.count)
                for column in range(columns.count)
            ]
    return _channel_wise(context, node, requantize, parts)


def _single(run: Run, number: int) -> Run:
    """One of a run's outputs."""
    return Run(run.out + number * run.step, 1, 1, run.first + number * run.stride, 1)


def _channel_wise(
    context: Context,
    node: Bilinear2d | Interpolate2d | RegionAverage2d,
    requantize: Requantize,
    parts: list[tuple[Run, Run, np.ndarray]],
) -> Layer:
    """Parts of rows and columns whose windows are weighted with integers (KH, KW)."""
    source = context.memory_of(node.input)
    channels = context.shapes[requantize.name][0]
    numbers: dict[tuple, int] = {}
    layers = []
    for rows, columns, factors in parts:
        kind = (factors.shape, *factors.ravel().tolist())
        layers.append(
            summing_layer(
                context,
                node,
                requantize,
                (source,),
                Unit.SUM,
                _passes(context, factors),
                number=numbers.setdefault(kind, len(numbers)),
                **grid(channels, rows, columns),
            )
        )
    return joined(layers)


def _passes(context: Context, factors: np.ndarray) -> np.ndarray:
    """Integers (KH, KW) in digits, as weights (1, T, KH, KW) of all channels."""
    digits = [factor_digits(context.config, int(factor)) for factor in factors.ravel()]
    passes = max(map(len, digits))
    padded = [[0] * (passes - len(own)) + own for own in digits]
    return np.array(padded, np.int64).T.reshape(1, passes, *factors.shape)
