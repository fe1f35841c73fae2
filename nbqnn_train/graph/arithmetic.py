"""Exact integer arithmetic at the speed of floating point.

Activations travel as float32: their codes have at most 16 bits and float32 represents every integer
of magnitude up to 2**24.

Why sums of products are exact: let M be the largest sum of absolute values of the terms of one
output, ``M >= sum |weight * code|``, proved in :mod:`nbqnn_train.graph.bounds`. Every product and
every partial sum, in whatever order and grouping BLAS chooses, with or without fused multiply-add,
is an integer of magnitude at most M. float32 represents every integer up to 2**24 in magnitude and
float64 up to 2**53, so where M is not larger no operation rounds and the result is the integer
result. M is at most 2**48 in a valid graph: all positive terms together and all negative ones
together fit accumulators of at most 48 bits. BLAS libraries sum products in some order and do not
use Strassen's algorithm, whose intermediate differences could exceed M.

:func:`rescale` says why requantizing in float64 is exact.
"""

from math import prod

import numpy as np

from .geometry import window_output
from .nodes import Conv2d, Linear, Requantize

__all__ = [
    "convolve",
    "correlate",
    "exact_dtype",
    "multiply",
    "rescale",
    "weight_matrix",
    "windows",
]

#: Number of accumulators that are requantized at a time; so many fit the cache.
_BLOCK = 1 << 14

#: Bytes for the columns of a convolution. As many images at a time are laid out as fit.
_COLUMN_BYTES = 1 << 25


def exact_dtype(magnitude: int) -> np.dtype:
    """Fastest type for sums whose terms have absolute values of ``magnitude`` in all."""
    assert magnitude <= 1 << 53, "accumulators of a valid graph have at most 48 bits"
    return np.dtype(np.float32 if magnitude <= 1 << 24 else np.float64)


def weight_matrix(node: Conv2d | Linear, dtype: np.dtype) -> np.ndarray:
    """Weights as (groups, Cout / groups, Cin / groups * KH * KW), or as (Fout, Fin) for Linear."""
    if isinstance(node, Linear):
        return node.weight.astype(dtype)
    outputs = node.weight.shape[0]
    return node.weight.reshape(node.groups, outputs // node.groups, -1).astype(dtype)


def windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
    fill: int = 0,
) -> np.ndarray:
    """View of shape (N, C, KH, KW, OH, OW) of ``x`` (N, C, H, W), padded with ``fill``."""
    top, left, bottom, right = padding
    size = tuple(
        window_output(*parameters)
        for parameters in (
            (x.shape[2], kernel[0], stride[0], (top, bottom), dilation[0]),
            (x.shape[3], kernel[1], stride[1], (left, right), dilation[1]),
        )
    )
    if any(padding):
        height, width = x.shape[2:]
        padded = np.full(
            (*x.shape[:2], height + top + bottom, width + left + right), fill, dtype=x.dtype
        )
        padded[:, :, top : top + height, left : left + width] = x
        x = padded
    batch, channel, row, column = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], *kernel, *size),
        strides=(
            batch,
            channel,
            row * dilation[0],
            column * dilation[1],
            row * stride[0],
            column * stride[1],
        ),
        writeable=False,
    )


def convolve(node: Conv2d, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Accumulators (N, Cout, OH, OW) of ``x`` (N, Cin, H, W), in the type of ``matrix``."""
    kernel = node.weight.shape[2:]
    return correlate(matrix, x, kernel, node.stride, node.padding, node.dilation)


def correlate(
    matrix: np.ndarray,
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> np.ndarray:
    """Sums (N, Cout, OH, OW) of ``x`` (N, Cin, H, W); :func:`weight_matrix` gives ``matrix``."""
    groups, outputs, depth = matrix.shape
    parts = []
    batch = 1
    start = 0
    while start < x.shape[0] or not parts:
        view = windows(
            x[start : start + batch].astype(matrix.dtype, copy=False),
            kernel,
            stride,
            padding,
            dilation,
        )
        positions = view.shape[4:]
        columns = view.reshape(view.shape[0], groups, depth, positions[0] * positions[1])
        acc = _product(matrix, columns)
        parts.append(acc.reshape(acc.shape[0], groups * outputs, *positions))
        start += batch
        batch = max(1, _COLUMN_BYTES // max(1, columns[0].nbytes)) if columns.size else 1
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def multiply(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Accumulators (N, Fout) of ``x`` (N, Fin), in the type of ``matrix``."""
    return _product(x.astype(matrix.dtype, copy=False), matrix.T)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` of finite numbers.

    Vector kernels of BLAS also multiply what lies behind the end of a row, and drop it. If that is
    a signalling NaN, the processor reports an invalid operation, which says nothing of ``a @ b``.
    """
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


def rescale(node: Requantize, wide: tuple[int, int], acc: np.ndarray) -> np.ndarray:
    """Codes, float32, of ``acc`` (N, C, ...); ``wide`` bounds ``acc * multiplier + bias + half``.

    Let W be that sum, P the product in it and R = ``bias + half``. Where P and W are of magnitude
    at most 2**52 it runs in float64, as ``floor(acc * (multiplier * 2**-shift) + R * 2**-shift)``.
    Every value on the way (multiplier, R, P and W) is an integer of at most 53 bits times
    ``2**-shift``, which float64 represents, so nothing rounds before floor. Otherwise it runs in
    int64: P has at most 47 + 16 bits and a sign, and W fits because the graph is valid.
    """
    batch, channels = acc.shape[:2]
    acc = acc.reshape(batch, channels, prod(acc.shape[2:]))
    codes = np.empty(acc.shape, dtype=np.float32)
    multiplier, bias, shift = (
        values[:, np.newaxis] for values in (node.multiplier, node.bias, node.shift)
    )
    offset = bias + ((1 << shift) >> 1)
    # The product is W - bias - half.
    product = max(abs(end) for end in wide) + int(np.abs(offset).max())
    floating = product <= 1 << 52
    if floating:
        factor = np.ldexp(multiplier.astype(np.float64), -shift)
        offset = np.ldexp(offset.astype(np.float64), -shift)
    step = max(1, _BLOCK // max(1, acc.shape[2]))
    for image in range(batch):
        for start in range(0, channels, step):
            rows = slice(start, start + step)
            if floating:
                block = acc[image, rows] * factor[rows]
                block += offset[rows]
                np.floor(block, out=block)
            else:
                block = acc[image, rows].astype(np.int64) * multiplier[rows]
                block += offset[rows]
                block >>= shift[rows]
            codes[image, rows] = np.clip(block, node.low, node.high, out=block)
    return codes
