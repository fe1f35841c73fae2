"""Reads operators that resize maps: nearest and linear interpolation."""

import math

import torch
from torch import fx

from nbqnn_train.quant.reading.arranging import gathered, indices
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []

#: Factors of linear interpolation whose shares are multiples of a power of two.
_DYADIC = (1, 2, 4, 8, 16)


def _ratio(node: fx.Node, value: Value) -> tuple[float, ...]:
    """Sizes after divided by sizes before."""
    after = tuple(node.meta["val"].shape[2:])
    return tuple(a / b for a, b in zip(after, value.shape[1:], strict=True))


def _stated(ratio: tuple[float, ...], arguments: dict) -> bool:
    """Whether factors that are stated, if any, are ``ratio``."""
    stated = arguments.get("scale_factors") or [
        found for name, found in arguments.items() if name.startswith("scales") and found
    ]
    return all(abs(a - b) <= 1e-9 for a, b in zip(ratio, stated, strict=False))


def _fraction(value: Value, after: tuple[int, ...]) -> Unsupported:
    before, after = (" x ".join(map(str, sizes)) for sizes in (value.shape[1:], after))
    return Unsupported(
        f"a resize by a fraction, from {before} to {after}",
        "enlarge by an integer, or bilinear",
        "shape",
    )


@rule(
    "upsample_nearest2d",
    "upsample_nearest1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact1d",
)
def _nearest(reader: Reader, node: fx.Node, operand, **arguments) -> Value:
    value = reader.value(operand)
    ratio = _ratio(node, value)
    base = tuple(node.meta["val"].shape[1:])
    if not _stated(ratio, arguments):
        return _nearest_fraction(reader, node, reader.map(value))
    if base == value.shape:
        return value
    if all(r == int(r) for r in ratio):
        return _repeated(reader, node, value, ratio)
    if all(1 / r == int(1 / r) for r in ratio):
        places = indices(value)[None].double()
        smaller = node.target(places, *node.args[1:], **node.kwargs)[0].long()
        return gathered(reader, value, smaller)
    return _nearest_fraction(reader, node, reader.map(value))


def _nearest_fraction(reader: Reader, node: fx.Node, value: Value) -> Value:
    """Pixels many times, of which every so many are taken."""
    base = tuple(node.meta["val"].shape[1:])
    channels, *before = reader.shape(value)
    axes = [
        _repeats_and_steps(size, places)
        for size, places in zip(before, _places(node, value.base[1:]), strict=True)
    ]
    if None in axes:
        raise _fraction(value, base[1:])
    factor, start, stride = zip(*axes, strict=True)
    larger = (channels, *(size * by for size, by in zip(before, factor, strict=True)))
    repeated = reader.emit(node, "upsample", (value.name,), larger, plain=False, factor=factor)
    held = canonical(base)
    settings = {"start": start, "stride": stride, "size": held[1:]}
    return reader.emit(node, "slice", (repeated.name,), held, base=base, **settings)


def _repeats_and_steps(size: int, places: tuple[float, ...]) -> tuple[int, int, int] | None:
    """How often each of ``size`` positions is repeated, and start and step from there to
    ``places``; None where there is no such."""
    after = len(places)
    shared = math.gcd(size, after)
    by, step = after // shared, size // shared
    for found in ((by, 0, step), (2 * by, step, 2 * step)):
        factor, start, stride = found
        if tuple((start + i * stride) // factor for i in range(after)) == places:
            return found
    return None


def _repeated(reader: Reader, node: fx.Node, value: Value, ratio: tuple[float, ...]) -> Value:
    """Every pixel so many times along each axis."""
    value = reader.map(value)
    factor = tuple(int(r) for r in ratio)
    factor = factor if len(factor) == 2 else (1, *factor)
    base = tuple(node.meta["val"].shape[1:])
    return reader.emit(node, "upsample", (value.name,), canonical(base), base=base, factor=factor)


@rule("upsample_bilinear2d", "upsample_linear1d")
def _linear(reader: Reader, node: fx.Node, operand, align_corners, **arguments) -> Value:
    value = reader.value(operand)
    ratio = _ratio(node, value)
    base = tuple(node.meta["val"].shape[1:])
    if base == value.shape and (align_corners or _stated(ratio, arguments)):
        return value
    if all(size == 1 or r == 1 for size, r in zip(value.shape[1:], ratio, strict=True)):
        return _repeated(reader, node, value, ratio)  # between equal pixels lies the same
    value = reader.map(value)
    if align_corners or not _stated(ratio, arguments):
        return _interpolated(reader, node, value)
    ratio = ratio if len(ratio) == 2 else (1.0, *ratio)
    held = canonical(base)
    if all(r in (1, 0.5) for r in ratio):  # the mean of two neighbours
        kernel = tuple(round(1 / r) for r in ratio)
        return reader.emit(
            node,
            "avg_pool",
            (value.name,),
            held,
            base=base,
            kernel=kernel,
            stride=kernel,
            padding=(0, 0, 0, 0),
        )
    if all(r in _DYADIC for r in ratio):
        factor = tuple(int(r) for r in ratio)
        return reader.emit(node, "bilinear", (value.name,), held, base=base, factor=factor)
    return _interpolated(reader, node, value)


def _interpolated(reader: Reader, node: fx.Node, value: Value) -> Value:
    """Rows first, then columns: each has a place between those of the input."""
    channels, *sizes = reader.shape(value)
    base = tuple(node.meta["val"].shape[1:])
    name, after = value.name, canonical(base)[1:]
    changed = [
        (axis, places)
        for axis, places in enumerate(_places(node, value.base[1:]))
        if places != tuple(range(sizes[axis]))
    ]
    for number, (axis, places) in enumerate(changed):
        size, sizes[axis] = sizes[axis], after[axis]
        settings = {"axis": axis, "size": size, "places": places}
        held, last = (channels, *sizes), number == len(changed) - 1
        form = {"base": base} if last else {"plain": False}
        value = reader.emit(node, "interpolate", (name,), held, **form, **settings)
        name = value.name
    return value


def _places(node: fx.Node, sizes: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where rows and columns of the output lie: what the operator makes of their numbers."""
    numbers = torch.meshgrid(*(torch.arange(size).double() for size in sizes), indexing="ij")
    placed = node.target(torch.stack(numbers)[None], *node.args[1:], **node.kwargs)[0]
    if len(sizes) == 1:
        return (0.0,), tuple(placed[0].tolist())
    return tuple(placed[0, :, 0].tolist()), tuple(placed[1, 0].tolist())
