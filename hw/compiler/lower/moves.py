"""Layers that move codes to other positions: the maximum of a window of one position.

Regions of other sizes are windows that differ from position to position.
"""

from collections.abc import Iterator

import numpy as np

from hw.compiler.constants import identity_params
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.compiler.lower.runs import Run, grid, joined, runs_of
from hw.contract.isa import Unit
from nbqnn_train.graph import Flip2d, Node, Pad2d, RegionMax2d, Slice2d, Upsample2d

__all__ = ["flip", "pad", "region_maximum", "region_runs", "slice_", "upsample"]


def slice_(context: Context, node: Slice2d) -> Layer:
    """A part of each map, in steps."""
    rows, columns = (
        Run(0, 1, size, start, stride)
        for size, start, stride in zip(node.size, node.start, node.stride, strict=True)
    )
    return _moved(context, node, [(rows, columns)])


def flip(context: Context, node: Flip2d) -> Layer:
    """From the last row or column to the first."""
    _, *sizes = context.shapes[context.memory_of(node.input)]
    rows, columns = (
        Run(0, 1, size, size - 1, -1) if turned else Run(0, 1, size, 0, 1)
        for size, turned in zip(sizes, (node.vertical, node.horizontal), strict=True)
    )
    return _moved(context, node, [(rows, columns)])


def upsample(context: Context, node: Upsample2d) -> Layer:
    """Every position as often as the factors say: each time it is one of as many phases."""
    _, *sizes = context.shapes[context.memory_of(node.input)]
    down, across = (
        [Run(phase, factor, size, 0, 1) for phase in range(factor)]
        for size, factor in zip(sizes, node.factor, strict=True)
    )
    return _moved(context, node, [(rows, columns) for rows in down for columns in across])


def pad(context: Context, node: Pad2d) -> Layer:
    """The map and what is around it."""
    _, height, width = context.shapes[context.memory_of(node.input)]
    top, left, bottom, right = (int(count) for count in node.padding)
    if node.mode != "constant":
        down, across = (
            _border(size, before, after, node.mode == "reflect")
            for size, before, after in ((height, top, bottom), (width, left, right))
        )
        return _moved(context, node, [(rows, columns) for rows in down for columns in across])
    if node.value == 0:
        # As a window in the padding has it.
        rows, columns = (
            Run(0, 1, top + height + bottom, -top, 1),
            Run(0, 1, left + width + right, -left, 1),
        )
        return _moved(context, node, [(rows, columns)], pad=-context.offsets[node.name])
    across = Run(0, 1, left + width + right, 0, 0)
    above, below = Run(0, 1, top, 0, 0), Run(top + height, 1, bottom, 0, 0)
    middle = Run(top, 1, height, 0, 1)
    before, after = Run(0, 1, left, 0, 0), Run(left + width, 1, right, 0, 0)
    around = [(above, across), (below, across), (middle, before), (middle, after)]
    inside = _moved(context, node, [(middle, Run(left, 1, width, 0, 1))])
    value = int(node.value) - context.offsets[node.name]
    around = [(rows, columns) for rows, columns in around if rows.count and columns.count]
    if not around:
        return inside
    outside = _moved(context, node, around, low=value, high=value)
    return joined([inside, *outside.parts])


def region_maximum(context: Context, node: RegionMax2d) -> Layer:
    """The largest code of every region."""
    return _moved(
        context,
        node,
        [
            (rows, columns, (height, width))
            for rows, height in region_runs(node.rows)
            for columns, width in region_runs(node.columns)
        ],
    )


def region_runs(regions: np.ndarray) -> Iterator[tuple[Run, int]]:
    """Runs of regions (n, 2) of equal size along an axis, and that size."""
    ends = regions.tolist()
    return runs_of((out, first, end - first) for out, (first, end) in enumerate(ends))


def _border(size: int, before: int, after: int, mirrored: bool) -> list[Run]:
    """The nearest position, or the map mirrored at it, before and after an axis."""
    runs = [
        Run(0, 1, before, before, -1) if mirrored else Run(0, 1, before, 0, 0),
        Run(before, 1, size, 0, 1),
        Run(before + size, 1, after, size - 2, -1)
        if mirrored
        else Run(before + size, 1, after, size - 1, 0),
    ]
    return [run for run in runs if run.count]


def _moved(context: Context, node: Node, parts: list[tuple], **fields: object) -> Layer:
    """A layer of parts: rows, columns, and the window's size where it is not one position."""
    config = context.config
    source = context.memory_of(node.input)
    lowest = -(1 << (config.act_bits - 1))
    channels = context.shapes[node.name][0]
    common = {"low": lowest, "high": -lowest - 1, "pad": lowest} | fields
    return joined(
        Layer(
            name=node.name,
            sources=(source,),
            target=node.name,
            unit=Unit.MAX,
            weight=None,
            kernel=kernel[0] if kernel else (1, 1),
            params=identity_params(config, config.post_lanes),
            shared_params=True,
            **grid(channels, rows, columns),
            **common,
        )
        for rows, columns, *kernel in parts
    )
