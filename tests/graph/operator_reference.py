"""The operators of SPEC.md once more, in Python loops over Python integers."""

from fractions import Fraction
from itertools import product
from math import floor

import numpy as np

from nbqnn_train.graph import (
    ArgMax,
    Bilinear2d,
    Channels,
    Constant,
    ConvTranspose2d,
    DepthToSpace,
    Flip2d,
    Interpolate2d,
    Multiply,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Slice2d,
    SpaceToDepth,
    Sum,
    Table,
    Unflatten,
    Upsample2d,
)

__all__ = ["reference_operator"]


def _filled(shape, function) -> np.ndarray:
    out = np.empty(shape, dtype=object)
    for at in product(*map(range, shape)):
        out[at] = function(*at)
    return out


def _table(node: Table, low: int, bits: int, code: int) -> int:
    table = [int(entry) for entry in node.table]
    if len(table) == 2**bits:
        return table[code - low]
    # Between knots that are ``step`` codes apart, to the nearest, ties up.
    step = 2**bits // (len(table) - 1)
    knot, fraction = divmod(code - low, step)
    line = table[knot] + Fraction((table[knot + 1] - table[knot]) * fraction, step)
    return floor(line + Fraction(1, 2))


def _bilinear(x, axis_factors):
    """Linear interpolation between centres with fractions, times the accumulator's gain."""
    for axis, factor in enumerate(axis_factors, start=1):
        if factor == 1:
            continue
        size = x.shape[axis]
        rows = []
        for y in range(size * factor):
            at = Fraction(2 * y + 1, 2 * factor) - Fraction(1, 2)
            first = floor(at)
            near = [x.take(min(max(p, 0), size - 1), axis) for p in (first, first + 1)]
            rows.append((near[0] * (1 - (at - first)) + near[1] * (at - first)) * 2 * factor)
        x = np.stack(rows, axis)
    return np.vectorize(int, otypes=[object])(x)


def _transposed(node: ConvTranspose2d, x) -> np.ndarray:
    """Every input position adds its kernel to a large map, from which the output is cut."""
    (outputs, inputs, *kernel), (_, height, width) = node.weight.shape, x.shape
    large = {}
    for o in range(outputs):
        first = o // (outputs // node.groups) * inputs
        for i, y, z, j, k in product(
            range(inputs), range(height), range(width), *map(range, kernel)
        ):
            at = (
                o,
                y * node.stride[0] + j * node.dilation[0] - node.padding[0],
                z * node.stride[1] + k * node.dilation[1] - node.padding[1],
            )
            large[at] = large.get(at, 0) + int(node.weight[o, i, j, k]) * x[first + i, y, z]
    sizes = [
        (size - 1) * node.stride[a]
        - node.padding[a]
        - node.padding[a + 2]
        + node.dilation[a] * (kernel[a] - 1)
        + node.output_padding[a]
        + 1
        for a, size in enumerate((height, width))
    ]
    return _filled((outputs, *sizes), lambda *at: large.get(at, 0))


def reference_operator(node, *operands):
    """What an operator makes of its operands (object arrays without a batch)."""
    x = operands[0] if operands else None
    match node:
        case Constant():
            return node.codes.astype(object)
        case Sum():
            return sum(
                sign * (operand * 2**shift)
                for operand, shift, sign in zip(operands, node.shifts, node.signs, strict=True)
            )
        case Multiply():
            return x * operands[1]
        case Channels():
            return np.array([x[int(c)] for c in node.index], dtype=object)
        case Unflatten():
            _, height, width = node.shape
            return _filled(node.shape, lambda c, y, z: x[(c * height + y) * width + z])
        case DepthToSpace():
            b, (c, h, w) = node.block, x.shape
            shape = (c // b**2, h * b, w * b)
            return _filled(shape, lambda c, y, z: x[(c * b + y % b) * b + z % b, y // b, z // b])
        case SpaceToDepth():
            b, (c, h, w) = node.block, x.shape
            shape = (c * b**2, h // b, w // b)
            return _filled(shape, lambda c, y, z: x[c // b**2, y * b + c // b % b, z * b + c % b])
        case Flip2d():
            _, h, w = x.shape
            return _filled(
                x.shape,
                lambda c, y, z: x[
                    c, h - 1 - y if node.vertical else y, w - 1 - z if node.horizontal else z
                ],
            )
        case Slice2d():
            return _filled(
                (len(x), *node.size),
                lambda c, y, z: x[
                    c,
                    node.start[0] + y * node.stride[0],
                    node.start[1] + z * node.stride[1],
                ],
            )
        case Upsample2d():
            (c, h, w), (v, u) = x.shape, node.factor
            return _filled((c, h * v, w * u), lambda c, y, z: x[c, y // v, z // u])
        case Bilinear2d():
            return _bilinear(x, node.factor)
        case Interpolate2d():
            return _interpolated(node, x)
        case Pad2d():
            return _padded(node, x)
        case RegionMax2d() | RegionAverage2d():
            return _region(node, x)
        case ArgMax():
            rows = x.reshape(len(x), -1)
            best = [column.tolist().index(max(column)) for column in rows.T]
            return np.array(best, dtype=object).reshape(1, *x.shape[1:])
        case ConvTranspose2d():
            return _transposed(node, x)
    raise AssertionError(node)


def reference_table(node: Table, low: int, bits: int, x) -> np.ndarray:
    """A Table on codes of ``bits`` bits from ``low`` upwards."""
    return np.array([_table(node, low, bits, int(v)) for v in x.ravel()], dtype=object).reshape(
        x.shape
    )


def _padded(node: Pad2d, x) -> np.ndarray:
    top, left, bottom, right = node.padding
    _, height, width = x.shape

    def inside(at: int, size: int) -> int | None:
        if 0 <= at < size:
            return at
        if node.mode == "constant":
            return None
        if node.mode == "replicate":
            return min(max(at, 0), size - 1)
        return -at if at < 0 else 2 * (size - 1) - at

    def code(c, y, z):
        row, column = inside(y - top, height), inside(z - left, width)
        return node.value if row is None or column is None else x[c, row, column]

    return _filled((len(x), height + top + bottom, width + left + right), code)


def _interpolated(node: Interpolate2d, x) -> np.ndarray:
    shape = list(x.shape)
    shape[1 + node.axis] = len(node.first)

    def code(c, y, z):
        total, out = 0, z if node.axis else y
        for tap, share in enumerate(node.share[out]):
            at = int(node.first[out]) + tap
            total += int(share) * (x[c, y, at] if node.axis else x[c, at, z])
        return total

    return _filled(tuple(shape), code)


def _region(node: RegionMax2d | RegionAverage2d, x) -> np.ndarray:
    def code(c, y, z):
        rows, columns = range(*map(int, node.rows[y])), range(*map(int, node.columns[z]))
        codes = [x[c, row, column] for row in rows for column in columns]
        if isinstance(node, RegionMax2d):
            return max(codes)
        return int(node.multiplier[y, z]) * sum(codes)

    return _filled((len(x), len(node.rows), len(node.columns)), code)
