"""Transposed convolution: every input position adds its kernel to the output."""

from dataclasses import dataclass

import numpy as np

from .. import limits
from ..arithmetic import correlate
from ..checks import check_activation, check_int, check_ints, check_weights, feature_map, label
from ..errors import GraphError
from ..intervals import Interval, Step, ends, weighted
from ..nodes import TensorType, Unary
from .operator import Operator

__all__ = ["TRANSPOSED", "ConvTranspose2d", "phase_taps"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose2d(Unary):
    """Transposed convolution; no bias (it lives in the requantizer).

    ``acc[o, y, x] = sum over i, j, k of weight[o, i, j, k] * in[i + first input channel of o's
    group, (y + top - j*dilation_v) / stride_v, (x + left - k*dilation_h) / stride_h]`` over all
    terms whose divisions leave no remainder and whose position lies in the map.

    Height and width are
    ``(size - 1)*stride - before - after + dilation*(kernel - 1) + output_padding + 1``.

    weight : (Cout, Cin / groups, KH, KW), as in Conv2d. PyTorch's has its first two axes swapped
        within each group.
    padding : (top, left, bottom, right), rows and columns that are cut off.
    output_padding : (vertical, horizontal), rows and columns added behind, below the larger of
        stride and dilation.
    """

    weight: np.ndarray
    weight_bits: int
    weight_exponent: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    acc_bits: int


def phase_taps(kernel: int, stride: int, before: int, dilation: int, phase: int) -> list[int]:
    """Taps of the kernel that output positions ``phase + n * stride`` of an axis use."""
    return [tap for tap in range(kernel) if (phase + before - tap * dilation) % stride == 0]


def _check(node: ConvTranspose2d) -> None:
    check_weights(node, 4)
    check_ints(node, "stride", 2, limits.STRIDE)
    check_ints(node, "padding", 4, limits.PADDING)
    check_ints(node, "output_padding", 2, limits.PADDING)
    check_ints(node, "dilation", 2, limits.DILATION)
    check_int(node, "groups", (1, limits.MAX_DIMENSION))
    if node.weight.shape[0] % node.groups:
        raise GraphError(
            f"{label(node)}: groups must divide the {node.weight.shape[0]} output channels, "
            f"not {node.groups}"
        )
    for added, stride, dilation in zip(
        node.output_padding, node.stride, node.dilation, strict=True
    ):
        if added >= max(stride, dilation):
            raise GraphError(
                f"{label(node)}: output_padding must be below the larger of stride "
                f"{tuple(node.stride)} and dilation {tuple(node.dilation)}, "
                f"not {tuple(node.output_padding)}"
            )


def _infer(node: ConvTranspose2d, source: TensorType) -> TensorType:
    check_activation(node, source, node.input)
    channels, *sizes = feature_map(node, source)
    expected = node.weight.shape[1] * node.groups
    if channels != expected:
        raise GraphError(
            f"{label(node)}: weight {node.weight.shape} with groups {node.groups} takes {expected} "
            f"input channels, but {node.input!r} has {channels}"
        )
    size = tuple(
        (sizes[axis] - 1) * node.stride[axis]
        - node.padding[axis]
        - node.padding[axis + 2]
        + node.dilation[axis] * (node.weight.shape[2 + axis] - 1)
        + node.output_padding[axis]
        + 1
        for axis in (0, 1)
    )
    if not all(1 <= length <= limits.MAX_DIMENSION for length in size):
        raise GraphError(
            f"{label(node)}: output must be 1..{limits.MAX_DIMENSION} high and wide, not {size}"
        )
    exponent = tuple(source.exponent + int(e) for e in node.weight_exponent)
    shape = (node.weight.shape[0], *size)
    return TensorType(shape=shape, bits=int(node.acc_bits), signed=True, exponent=exponent)


def _bound(node: ConvTranspose2d, types, source: Interval) -> Step:
    """Bounds over all phases. Each phase is a convolution with the taps that meet its positions."""
    taps = []
    for axis, before in enumerate(node.padding[:2]):
        stride = int(node.stride[axis])
        found = (
            phase_taps(
                node.weight.shape[2 + axis], stride, int(before), int(node.dilation[axis]), phase
            )
            for phase in range(min(stride, types[node.name].shape[1 + axis]))
        )
        # A phase without a tap is 0 everywhere.
        taps.append([list(t) for t in sorted({tuple(t) for t in found}) if t])
    steps = [
        weighted(node.weight[:, :, rows][:, :, :, columns], node.groups, source, padded=True)
        for rows in taps[0]
        for columns in taps[1]
    ]
    zero = np.zeros(node.weight.shape[0], np.int64)
    values = Interval(
        np.minimum.reduce([zero, *(step.values.low for step in steps)]),
        np.maximum.reduce([zero, *(step.values.high for step in steps)]),
    )
    magnitude = max((step.magnitude for step in steps), default=0)
    return Step(values=values, partial=ends(values), magnitude=magnitude)


def _step(node: ConvTranspose2d, source: TensorType, dtype, batch: int, x) -> np.ndarray:
    """Puts zeros between the positions of the map and convolves it with the kernel turned round."""
    kernel = node.weight.shape[2:]
    stride, reach = node.stride, [d * (k - 1) for d, k in zip(node.dilation, kernel, strict=True)]
    sizes = [(size - 1) * s + 1 for size, s in zip(x.shape[2:], stride, strict=True)]
    spread = np.zeros((*x.shape[:2], *sizes), x.dtype)
    spread[:, :, :: stride[0], :: stride[1]] = x
    before = [reach[axis] - node.padding[axis] for axis in (0, 1)]
    after = [reach[axis] - node.padding[2 + axis] + node.output_padding[axis] for axis in (0, 1)]
    # Where padding is larger than the kernel's reach, the rest is cut off the map.
    spread = spread[
        :,
        :,
        max(0, -before[0]) : spread.shape[2] - max(0, -after[0]),
        max(0, -before[1]) : spread.shape[3] - max(0, -after[1]),
    ]
    outputs = node.weight.shape[0]
    turned = node.weight[:, :, ::-1, ::-1]
    matrix = turned.reshape(node.groups, outputs // node.groups, -1).astype(dtype)
    padding = (*(max(0, p) for p in before), *(max(0, p) for p in after))
    return correlate(matrix, spread, kernel, (1, 1), padding, node.dilation)


TRANSPOSED = {ConvTranspose2d: Operator(check=_check, infer=_infer, bound=_bound, step=_step)}
