"""Exact integer sums of products at the speed of BLAS.

Why floating point is exact here: let M be the largest sum of absolute values of the terms of one
output, ``M >= sum |weight * code|``, proved in :mod:`nbqnn_train.graph.bounds`. Every product and
every partial sum, in whatever order and grouping BLAS chooses, with or without fused multiply-add,
is an integer of magnitude at most M. float32 represents every integer of magnitude at most 2**24
and float64 at most 2**53, so where M is not larger no operation rounds and the result is the
integer result. BLAS libraries sum products in some order and do not use Strassen's algorithm, whose
intermediate differences could exceed M. Beyond 2**53 the sums are computed in int64.
"""

import numpy as np

from .infer import window_output
from .nodes import Conv2d, Linear

__all__ = ["convolve", "exact_dtype", "multiply", "weight_matrix", "windows"]

#: Columns are laid out for as many images at a time as fit into so many bytes.
_COLUMN_BYTES = 1 << 25


def exact_dtype(magnitude: int) -> np.dtype:
    """Fastest type in which sums of integers up to ``magnitude`` in absolute terms are exact."""
    if magnitude <= 1 << 24:
        return np.dtype(np.float32)
    if magnitude <= 1 << 53:
        return np.dtype(np.float64)
    return np.dtype(np.int64)


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
    groups, outputs, depth = matrix.shape
    parts = []
    batch = 1
    start = 0
    while start < x.shape[0] or not parts:
        view = windows(
            x[start : start + batch].astype(matrix.dtype, copy=False),
            kernel,
            node.stride,
            node.padding,
            node.dilation,
        )
        positions = view.shape[4:]
        columns = view.reshape(view.shape[0], groups, depth, positions[0] * positions[1])
        acc = np.matmul(matrix, columns)
        parts.append(acc.reshape(acc.shape[0], groups * outputs, *positions))
        start += batch
        batch = max(1, _COLUMN_BYTES // max(1, columns[0].nbytes)) if columns.size else 1
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def multiply(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Accumulators (N, Fout) of ``x`` (N, Fin), in the type of ``matrix``."""
    return np.matmul(x.astype(matrix.dtype, copy=False), matrix.T)
