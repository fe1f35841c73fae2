"""Reads operators that resize maps: nearest, linear and cubic interpolation."""

import math

import torch
from torch import Tensor, fx

from nbqnn_train.quant.reading.arranging import gathered, indices
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []

#: Factors of linear interpolation whose shares are multiples of a power of two.
_DYADIC = (1, 2, 4, 8, 16)
#: Shares below this are what rounding leaves of 0.
_NOTHING = 1e-9
#: Maps in which one position is 1 that an operator sees at a time.
_AT_A_TIME = 8


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


@rule("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")
def _with_more_neighbours(reader: Reader, node: fx.Node, operand, *_, **__) -> Value:
    return _interpolated(reader, node, reader.map(reader.value(operand)))


def _interpolated(reader: Reader, node: fx.Node, value: Value) -> Value:
    """Rows first, then columns: each is a sum of neighbours with their shares."""
    channels, *sizes = reader.shape(value)
    base = tuple(node.meta["val"].shape[1:])
    flat = len(value.base) == 2
    changed = []
    for axis in (1,) if flat else (0, 1):
        shares = _shares(node, value.base[1:], 0 if flat else axis)
        if not torch.equal(shares, torch.eye(sizes[axis]).double()):
            changed.append((axis, *_neighbours(shares)))
    for axis, first, shares in changed:
        settings = {"axis": axis, "size": sizes[axis], "first": first, "shares": shares}
        sizes[axis] = len(first)
        held, last = (channels, *sizes), axis == changed[-1][0]
        form = {"base": base} if last else {"plain": False}
        value = reader.emit(node, "interpolate", (value.name,), held, **form, **settings)
    return value


def _shares(node: fx.Node, sizes: tuple[int, ...], axis: int) -> Tensor:
    """How much of each position along ``axis`` each output takes (outputs, positions): what the
    operator makes of maps in which one row or column is 1."""
    found = []
    for some in torch.eye(sizes[axis]).double().split(_AT_A_TIME):
        shape = [len(some), *(1 for _ in sizes)]
        shape[1 + axis] = -1
        ones = some.reshape(shape).expand(len(some), *sizes)[None]
        out = node.target(ones, *node.args[1:], **node.kwargs)[0]
        found.append(out if len(sizes) == 1 else out.select(2 - axis, 0))
    return torch.cat(found).T


def _neighbours(shares: Tensor) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """The first neighbour of each output, and the shares from there on, the same number for all."""
    taken = shares.abs() > _NOTHING
    size = shares.shape[1]
    first = taken.int().argmax(1)
    behind = size - taken.int().flip(1).argmax(1)
    most = int((behind - first).max())
    first = first.clamp(max=size - most)
    places = first[:, None] + torch.arange(most)
    return tuple(first.tolist()), tuple(map(tuple, shares.gather(1, places).tolist()))


def _places(node: fx.Node, sizes: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The rows and columns that the operator takes."""
    numbers = torch.meshgrid(*(torch.arange(size).double() for size in sizes), indexing="ij")
    placed = node.target(torch.stack(numbers)[None], *node.args[1:], **node.kwargs)[0]
    if len(sizes) == 1:
        return (0.0,), tuple(placed[0].tolist())
    return tuple(placed[0, :, 0].tolist()), tuple(placed[1, 0].tolist())
