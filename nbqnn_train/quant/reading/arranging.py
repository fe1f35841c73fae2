"""Brings values into the shapes that operations take: maps and vectors, elements in order."""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nbqnn_train.quant.reading.operations import Operation
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.values import Value, canonical

if TYPE_CHECKING:
    import nbqnn_train.quant.reading.reader

__all__ = [
    *("as_map", "as_vector", "beside", "gathered", "in_order", "indices", "repeated", "sized"),
]

#: A map's rows or columns in another order come from at most so many parts of it.
_MOST_RUNS = 8


def as_map(reader: "nbqnn_train.quant.reading.reader.Reader", value: Value) -> Value:
    """The value as a map (C, H, W), or a series (C, L)."""
    if not value.plain:
        if len(value.shape) not in (2, 3):
            raise _other_order()
        value = gathered(reader, value, indices(value))
    held = reader.shape(value)
    if canonical(value.base) == held:
        return value
    if len(value.base) not in (2, 3):
        raise Unsupported(
            f"a change of shape from {sized(held)} to {sized(value.base)}",
            "only maps, series and vectors are supported",
            "shape",
        )
    vector = value
    if len(held) == 3:
        vector = as_vector(reader, Value(value.name, (value.size,), flat=value.flat))
    shape = canonical(value.base)
    name = _once(reader, vector, "unflatten", shape, lambda: {"shape": shape})
    return Value(name, value.base, flat=value.flat)


def as_vector(reader: "nbqnn_train.quant.reading.reader.Reader", value: Value) -> Value:
    """The value as a vector (F,), flattened where it is a map."""
    features = value.size
    if not value.plain and len(value.shape) == 1:
        value = gathered(reader, value, indices(value))
    if not value.plain or max(value.base, default=1) != features:
        raise Unsupported(
            f"a linear layer on the last of the dimensions {sized(value.shape)}",
            "flatten to (N, F), or use a convolution of 1 x 1",
            "shape",
        )
    if len(reader.shape(value)) == 1:
        return value
    name = _once(reader, value, "flatten", (features,), dict, base=value.flat)
    return Value(name, value.base, flat=value.flat)


def _once(
    reader: "nbqnn_train.quant.reading.reader.Reader",
    value: Value,
    kind: str,
    shape: tuple[int, ...],
    settings,
    base: str = "",
) -> str:
    """The name of an operation on ``value``. It is emitted the first time it is asked for."""
    key = (value.name, kind, shape)
    if key not in reader.made:
        source = reader.operations[value.name]
        name = reader.unique(base or f"{value.name}_{kind}")
        reader.operations[name] = Operation(
            kind,
            name,
            [value.name],
            source.path,
            source.source,
            kind,
            shape=shape,
            settings=settings(),
        )
        reader.made[key] = name
    return reader.made[key]


def repeated(
    reader: "nbqnn_train.quant.reading.reader.Reader", value: Value, shape: tuple[int, ...]
) -> Value:
    """The value repeated along dimensions of size 1, to ``shape`` (without the batch)."""
    own = (1,) * (len(shape) - len(value.shape)) + value.shape
    if not value.plain or len(shape) not in (2, 3):
        raise Unsupported(
            "a value that is repeated", "repeat maps along channels or positions", "shape"
        )
    value = as_map(reader, Value(value.name, own, flat=value.flat))
    channels, *sizes = canonical(own)
    wanted = canonical(shape)
    name = value.name
    if channels != wanted[0]:
        held = (wanted[0], *sizes)
        step = reader.emit(
            reader.node, "channels", (name,), held, plain=False, index=(0,) * wanted[0]
        )
        name = step.name
    factor = tuple(1 if a == b else b for a, b in zip(sizes, wanted[1:], strict=True))
    if factor != (1, 1):
        name = reader.emit(
            reader.node, "upsample", (name,), wanted, plain=False, factor=factor
        ).name
    return Value(name, shape, flat=value.flat)


def indices(value: Value) -> Tensor:
    """The place of each element in the operation's order, in the shape of the value."""
    places = torch.arange(value.size).reshape(value.base)
    for kind, argument in value.arrangement():
        places = places.reshape(argument) if kind == "view" else places.permute(argument)
    return places


def gathered(
    reader: "nbqnn_train.quant.reading.reader.Reader", value: Value, places: Tensor
) -> Value:
    """The elements ``places`` of the value's operation, in the shape of ``places``.

    Channels can be in any order, maps can be cut, mirrored and put together from a few parts, and
    blocks of pixels can become channels or the reverse. Anything else is refused.
    """
    shape = tuple(places.shape)
    held = reader.shape(value)
    if not places.numel():
        raise Unsupported(
            f"a part without elements, of {sized(held)}",
            "take channels and positions that are there",
        )
    if torch.equal(places.flatten(), torch.arange(value.size)):
        return Value(value.name, shape, flat=value.flat)
    if len(held) == 1:
        steps = [("channels", {"index": tuple(places.flatten().tolist())}, (places.numel(),))]
    else:
        steps = _steps(places, held) if len(held) == 3 else None  # what was refused may have more
    if not steps:
        return _put_together(reader, value, places)
    name = value.name
    for kind, settings, after in steps:
        name = reader.emit(reader.node, kind, (name,), after, plain=False, **settings).name
    return Value(name, shape, flat=value.flat)


def beside(
    reader: "nbqnn_train.quant.reading.reader.Reader",
    values: list[Value],
    dim: int,
    shape: tuple[int, ...],
) -> Value:
    """Maps or series beside each other along ``dim``, which together have ``shape``, both without
    the batch: the sum of all, each with zeros where the others are."""
    held, axis = canonical(shape), dim - len(shape)
    total, begin = None, 0
    for value in values:
        value = as_map(reader, value)
        size = reader.shape(value)[axis]
        padding = [0, 0, 0, 0]  # top, left, bottom, right
        padding[axis + 2], padding[axis + 4] = begin, held[axis] - begin - size
        begin += size
        settings = {"stride": (1, 1), "padding": tuple(padding), "channels": (0, 0), "fill": 0.0}
        part = reader.emit(reader.node, "select", (value.name,), held, plain=False, **settings)
        if total is not None:
            part = reader.emit(reader.node, "add", (total.name, part.name), held, plain=False)
        total = part
    return Value(total.name, shape)


def in_order(reader: "nbqnn_train.quant.reading.reader.Reader", value: Value) -> Value:
    """An output in its own order, where channels or pixels that change places give it; other orders
    are left to what comes after the graph."""
    if not value.steps or len(value.shape) not in (2, 3):
        return value
    try:
        return gathered(reader, value, indices(value))
    except Unsupported:
        return value


def _other_order() -> Unsupported:
    return Unsupported(
        "a map whose dimensions are in another order",
        "keep (N, C, H, W); permute only what leaves the order of elements alone",
        "shape",
    )


def _steps(places: Tensor, held: tuple[int, int, int]) -> list[tuple] | None:
    """Kinds, settings and shapes of operations that bring a map of ``held`` into the order
    ``places``; None where no operations do."""
    area = held[1] * held[2]
    if places.numel() % area == 0:
        rows = places.reshape(-1, area)
        chosen = rows[:, 0].div(area, rounding_mode="floor")
        if torch.equal(rows, chosen[:, None] * area + torch.arange(area)):
            return [_channels(chosen, held)]
    if places.dim() not in (2, 3):
        return None
    places = places.reshape(canonical(tuple(places.shape)))
    for find in (_parts, _to_space, _to_depth):
        steps = find(places, held)
        if steps is not None:
            return steps
    return None


def _put_together(
    reader: "nbqnn_train.quant.reading.reader.Reader", value: Value, places: Tensor
) -> Value:
    """As :func:`gathered`, with rows and columns from several parts of a map."""
    shape, held = tuple(places.shape), reader.shape(value)
    if len(held) != 3 or len(shape) not in (2, 3):
        raise _other_order()
    wanted = places.reshape(canonical(shape))
    chosen, *axes = _selection(wanted, held)
    if not torch.equal(wanted, _places(chosen, *axes, held)):
        raise _other_order()
    value, channels = Value(value.name, held, flat=value.flat), torch.arange(held[0])
    for axis in range(2):
        runs = axes[axis].split(_even_runs(axes[axis].tolist()))
        if not 1 < len(runs) <= _MOST_RUNS:
            continue
        held, lines = reader.shape(value), [torch.arange(size) for size in held[1:]]
        parts = []
        for run in runs:
            lines[axis] = run
            parts.append(gathered(reader, value, _places(channels, *lines, held)))
        after = list(held)
        after[axis + 1] = len(axes[axis])
        value = beside(reader, parts, axis + 1, tuple(after))
        axes[axis] = torch.arange(len(axes[axis]))
        held = tuple(after)
    if len(_even_runs(axes[0].tolist())) > 1 or len(_even_runs(axes[1].tolist())) > 1:
        raise _other_order()
    return gathered(reader, value, _places(chosen, *axes, held).reshape(shape))


def _selection(places: Tensor, held: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The channels, rows and columns of the first elements of ``places``, which has all three."""
    _, height, width = held
    chosen = places[:, 0, 0].div(height * width, rounding_mode="floor")
    inside = places[0] - chosen[0] * height * width
    return chosen, inside[:, 0].div(width, rounding_mode="floor"), inside[0] % width


def _places(channels: Tensor, rows: Tensor, columns: Tensor, held: tuple[int, int, int]) -> Tensor:
    """The places of these channels, rows and columns."""
    _, height, width = held
    return (channels[:, None, None] * height + rows[:, None]) * width + columns


def _even_runs(numbers: list[int]) -> list[int]:
    """Lengths of the runs of numbers that are evenly apart."""
    sizes, before = [1], 0
    for last, number in pairwise(numbers):
        step = number - last
        if step and (sizes[-1] == 1 or step == before):
            sizes[-1] += 1
        elif sizes[-1] == 2 and 0 < abs(step) < abs(before):
            sizes[-1:] = [1, 2]  # two of a kind by chance
        else:
            sizes.append(1)
        before = step
    return sizes


def _channels(chosen: Tensor, held: tuple[int, int, int]) -> tuple:
    return "channels", {"index": tuple(chosen.tolist())}, (len(chosen), *held[1:])


def _parts(places: Tensor, held: tuple[int, int, int]) -> list[tuple] | None:
    """A selection: any channels, and evenly spaced rows and columns in either direction."""
    channels = held[0]
    chosen, rows, columns = _selection(places, held)
    axes = [_evenly(rows), _evenly(columns)]
    if not torch.equal(places, _places(chosen, rows, columns, held)) or None in axes:
        return None
    steps = []
    if not torch.equal(chosen, torch.arange(channels)):
        steps.append(_channels(chosen, held))
        held = steps[-1][2]
    turned = [step < 0 for _, step in axes]
    if any(turned):
        settings = {"vertical": turned[0], "horizontal": turned[1]}
        steps.append(("flip", settings, held))
    starts = [
        size - 1 - start if step < 0 else start
        for (start, step), size in zip(axes, held[1:], strict=True)
    ]
    strides = tuple(abs(step) for _, step in axes)
    size = tuple(places.shape[1:])
    if size == held[1:] and strides == (1, 1):
        return steps
    whole = all(
        -(-old // stride) == new for old, stride, new in zip(held[1:], strides, size, strict=True)
    )
    if whole and not any(starts):
        settings = {"stride": strides, "padding": (0, 0, 0, 0), "channels": (0, 0), "fill": 0.0}
        steps.append(("select", settings, (len(chosen), *size)))
    else:
        settings = {"start": tuple(starts), "stride": strides, "size": size}
        steps.append(("slice", settings, (len(chosen), *size)))
    return steps


def _evenly(numbers: Tensor) -> tuple[int, int] | None:
    """First number and step if the numbers are evenly apart, else None."""
    first = int(numbers[0])
    if len(numbers) == 1:
        return first, 1
    step = int(numbers[1]) - first
    even = torch.equal(numbers, first + step * torch.arange(len(numbers)))
    return (first, step) if even and step else None


def _to_space(places: Tensor, held: tuple[int, int, int]) -> list[tuple] | None:
    """A change of the channels' order, then channels become blocks of pixels."""
    channels, height, width = held
    block = places.shape[1] // height
    if block < 2 or places.shape[1:] != (height * block, width * block):
        return None
    # The order that DepthToSpace2d takes: c, row and column within the block.
    first = places[:, :block, :block].reshape(-1).div(height * width, rounding_mode="floor")
    space = torch.arange(channels * height * width).reshape(held)[first]
    if not torch.equal(places, torch.pixel_shuffle(space[None], block)[0]):
        return None
    steps = [] if torch.equal(first, torch.arange(channels)) else [_channels(first, held)]
    return [*steps, ("depth_to_space", {"block": block}, tuple(places.shape))]


def _to_depth(places: Tensor, held: tuple[int, int, int]) -> list[tuple] | None:
    """Blocks of pixels become channels, then a change of the channels' order."""
    channels, height, width = held
    block = height // places.shape[1]
    if block < 2 or (places.shape[1] * block, places.shape[2] * block) != (height, width):
        return None
    depth = torch.pixel_unshuffle(torch.arange(channels * height * width).reshape(1, *held), block)[
        0
    ]
    order = {int(first): number for number, first in enumerate(depth[:, 0, 0])}
    chosen = [order.get(int(first)) for first in places[:, 0, 0]]
    if None in chosen or not torch.equal(places, depth[torch.tensor(chosen)]):
        return None
    shape = tuple(depth.shape)
    steps = [("space_to_depth", {"block": block}, shape)]
    if chosen != list(range(len(depth))):
        steps.append(_channels(torch.tensor(chosen), shape))
    return steps


def sized(shape: tuple[int, ...]) -> str:
    """A shape as messages show it, such as "3 x 8 x 8"."""
    return " x ".join(map(str, shape))
