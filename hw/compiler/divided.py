"""Filter groups whose weights do not fit the weight memory, in parts that follow each other.

So are those of a kernel that is higher or wider than a command can say.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, product

from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer, Lowered
from hw.compiler.layouts import most_in_row
from hw.compiler.tiles import filter_group_width, layer_steps
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import MAX_COMMANDS, MAX_KERNEL, Unit
from hw.contract.words import ChannelParams

__all__ = ["divided", "is_divided"]

#: Parts of a filter group's weights that the memory holds: one is used, the other is loaded.
_HELD = 2


def divided(config: AcceleratorConfig, lowered: Lowered) -> Lowered:
    """The layers, with parts that take some steps of a sum where the memory does not hold all.

    The accumulators hold the sums of one group of positions. So the weights of a filter group are
    loaded part by part for every group of positions: the layer is exact, and as slow as its loads.
    """
    return replace(lowered, layers=tuple(_divided(config, layer) for layer in lowered.layers))


def is_divided(config: AcceleratorConfig, layer: Layer) -> bool:
    """Whether the weights of one filter group are loaded, and used, in parts."""
    return any(_is_large(config, part) for part in layer.parts)


def _divided(config: AcceleratorConfig, layer: Layer) -> Layer:
    if not is_divided(config, layer):
        return layer
    # Each step of a part takes one tap.
    layer = layer.everywhere(taps=1)
    commands = sum(_commands(config, part) for part in layer.parts)
    if commands > MAX_COMMANDS:
        steps = max(layer_steps(config, part) for part in layer.parts)
        raise CompileError(
            f"layer {layer.name}: {steps} words of weights of one filter group need {commands} "
            f"commands with weight_depth = {config.weight_depth}; a program has at most "
            f"{MAX_COMMANDS}"
        )
    numbers = count(1 + max(part.number for part in layer.parts))
    first, *more = (
        piece
        for part in layer.parts
        for piece in (_pieces(config, part, numbers) if _is_large(config, part) else (part,))
    )
    # The nominal operations are counted once.
    return replace(first, macs=layer.macs, more=tuple(replace(piece, macs=0) for piece in more))


def _is_large(config: AcceleratorConfig, part: Layer) -> bool:
    alone = part.unit is Unit.ARRAY or len(part.sources) == 1
    if part.weight is None or not alone:
        return False
    sizes = part.kernel[0], part.kernel_steps
    return layer_steps(config, part) > config.weight_depth or max(sizes) > MAX_KERNEL


def _commands(config: AcceleratorConfig, part: Layer) -> int:
    if not _is_large(config, part):
        return 1
    channels, rows, columns = part.out_shape
    groups = rows * -(-columns // most_in_row(config, part))
    return (
        -(-channels // filter_group_width(config, part)) * groups * len(list(_steps(config, part)))
    )


def _pieces(config: AcceleratorConfig, part: Layer, numbers: Iterator[int]) -> Iterator[Layer]:
    """Filter group by filter group, one group of positions after the other, all steps of each."""
    channels, rows, columns = part.out_shape
    width = filter_group_width(config, part)
    most = most_in_row(config, part)
    steps = list(_steps(config, part))
    for channel in range(0, channels, width):
        end = min(channel + width, channels)
        # All positions share the weights.
        numbered = [(next(numbers), *step) for step in steps]
        for row, column in product(range(rows), range(0, columns, most)):
            positions = min(most, columns - column)
            for number, loops, kernel_rows, kernel_columns in numbered:
                yield _piece(
                    config,
                    part,
                    number,
                    slice(channel, end),
                    (row, column, positions),
                    (loops, kernel_rows, kernel_columns),
                )


def _steps(config: AcceleratorConfig, part: Layer) -> Iterator[tuple[slice, slice, slice]]:
    """Channel groups (or passes), rows and columns of the kernel, of each part of the weights."""
    kernel_h, kernel_w = part.kernel
    loops = layer_steps(config, part) // (kernel_h * kernel_w)
    most = config.weight_depth // _HELD
    # A pass that is not whole is alone: the one behind it multiplies all sums so far.
    by_loop = max(1, most // (kernel_h * kernel_w)) if max(part.kernel) <= MAX_KERNEL else 1
    by_row = kernel_h if kernel_h * kernel_w <= most else max(1, most // kernel_w)
    by_row, by_column = min(by_row, MAX_KERNEL), min(kernel_w, most, MAX_KERNEL)
    for loop, row, column in product(
        range(0, loops, by_loop), range(0, kernel_h, by_row), range(0, kernel_w, by_column)
    ):
        yield (
            slice(loop, min(loop + by_loop, loops)),
            slice(row, min(row + by_row, kernel_h)),
            slice(column, min(column + by_column, kernel_w)),
        )


def _piece(
    config: AcceleratorConfig,
    part: Layer,
    number: int,
    channels: slice,
    positions: tuple[int, int, int],
    steps: tuple[slice, slice, slice],
) -> Layer:
    """Some steps of some positions in a row."""
    row, column, width = positions
    loops, kernel_rows, kernel_columns = steps
    dot = part.unit is Unit.ARRAY
    kernel = kernel_rows.stop - kernel_rows.start, kernel_columns.stop - kernel_columns.start
    filters = slice(None) if part.shared_weight else channels
    depth = slice(loops.start * config.lanes, loops.stop * config.lanes) if dot else loops
    top, left, bottom, right = part.padding
    starts_pass = kernel_rows.start == kernel_columns.start == 0
    (first_row, first_column), (step_y, step_x) = part.out_first, part.out_step
    return replace(
        part,
        weight=part.weight[filters, depth, kernel_rows, kernel_columns],
        kernel=kernel,
        padding=(top - row * part.stride[0], left - column * part.stride[1], bottom, right),
        params=part.params if part.shared_params else _of(part.params, channels),
        out_shape=(channels.stop - channels.start, 1, width),
        out_channel=part.out_channel + channels.start,
        out_first=(first_row + row * step_y, first_column + column * step_x),
        in_group=part.in_group + (loops.start if dot else channels.start // config.lanes),
        first_tap=(kernel_rows.start, kernel_columns.start),
        one_group=True,
        adds=any(step.start for step in steps),
        grows=not dot and loops.start > 0 and starts_pass,
        number=number,
        more=(),
    )


def _of(params: ChannelParams, channels: slice) -> ChannelParams:
    return ChannelParams(
        params.addend[channels], params.shift[channels], params.multiplier[channels]
    )
