"""Pooling whose windows differ from position to position."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nbqnn_train.graph.limits import ACC_BITS, AVG_MULTIPLIER
from nbqnn_train.graph.operators import RegionAverage2d, RegionMax2d
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.fold import MULTIPLIER_LOG2_SHIFT_MODE
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.ops import AvgPoolOp, MaxPoolOp, rescale
from nbqnn_train.quant.window import Window

__all__ = ["AdaptiveAverageOp", "AdaptiveMaxOp", "RegionAverageOp", "Regions"]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Where a pooling layer looks, for maps of any size.

    size : height and width of what comes out (adaptive); else None, and
    kernel, stride, padding : (vertical, horizontal), padding on both sides;
    ceil : whether a last window that leaves the map counts;
    count_pad : whether padding counts in an average; divisor : what sums are divided by instead.
    """

    size: tuple[int, int] | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    ceil: bool = False
    count_pad: bool = True
    divisor: int | None = None

    def at(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (OH, 2) and columns (OW, 2), first and behind the last, and divisors (OH, OW)."""
        rows, rows_counted = self._axis(0, height)
        columns, columns_counted = self._axis(1, width)
        divisors = rows_counted[:, np.newaxis] * columns_counted
        if self.divisor is not None:
            divisors = np.full_like(divisors, self.divisor)
        return rows, columns, divisors

    def _axis(self, axis: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of each output along an axis, and how many count."""
        if self.size is not None:
            number = np.arange(self.size[axis])
            first = number * length // self.size[axis]
            behind = -(-(number + 1) * length // self.size[axis])
            return np.stack([first, behind], axis=1), behind - first
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        room = length + 2 * padding - kernel
        count = (-(-room // stride) if self.ceil else room // stride) + 1
        if self.ceil and (count - 1) * stride >= length + padding:
            count -= 1  # the last window must begin on the map
        first = np.arange(count) * stride - padding
        behind = np.minimum(first + kernel, length + padding)
        inside = np.stack([np.maximum(first, 0), np.minimum(behind, length)], axis=1)
        counted = behind - first if self.count_pad else inside[:, 1] - inside[:, 0]
        return inside, counted


def _chosen(spans: np.ndarray, length: int, like: Tensor) -> Tensor:
    """(outputs, length), 1 where an output takes a position."""
    places = np.arange(length)
    taken = (places >= spans[:, :1]) & (places < spans[:, 1:])
    return torch.from_numpy(taken).to(like)


def _multipliers(divisors: np.ndarray) -> tuple[np.ndarray, int]:
    """Multipliers and the shift with ``multiplier / 2**shift`` nearest to one over each divisor."""
    least, most = int(divisors.min()), int(divisors.max())
    exact = not (divisors & (divisors - 1)).any()
    shift = most.bit_length() - 1
    if not exact or (1 << shift) // least > AVG_MULTIPLIER[1]:
        shift = least.bit_length() - 1 + AVG_MULTIPLIER[1].bit_length() - 1
    multipliers = np.floor((1 << shift) / divisors + 0.5).astype(np.int64)
    return np.clip(multipliers, *AVG_MULTIPLIER), shift


def _sums(value: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    height, width = value.shape[2:]
    return _chosen(rows, height, value) @ value @ _chosen(columns, width, value).mT


class RegionAverageOp(Operator):
    """Mean of each region, with the integer approximation of one over its size that the graph
    holds, in training too."""

    def __init__(self, regions: Regions, out: ActivationQuantizer):
        super().__init__()
        self.regions = regions
        self.out = out

    def forward(self, values, sources, record=None) -> Tensor:
        return averaged(self, self.regions, values[0], sources[0], record)

    def real(self, value: Tensor) -> Tensor:
        rows, columns, divisors = self.regions.at(*value.shape[2:])
        sums = _sums(value, rows, columns)
        return self.out.clamp(sums / torch.from_numpy(divisors).to(value))

    def finest_exponent(self, sources: list[Format]) -> int:
        # Known without the regions: a shift of 0 is the least that there is.
        return sources[0].exponent - MULTIPLIER_LOG2_SHIFT_MODE

    def export(self, exporter, step) -> str:
        return _export_average(self, self.regions, exporter, step)


def averaged(
    op: Operator, regions: Regions, value: Tensor, source: Format | None, record
) -> Tensor:
    """The means of ``regions`` as ``op`` gives them."""
    rows, columns, divisors = regions.at(*value.shape[2:])
    multipliers, shift = _multipliers(divisors)
    factors = torch.from_numpy(np.ldexp(multipliers.astype(np.float64), -shift)).to(value)
    acc = _sums(value, rows, columns) * factors
    if op.out.mode.calibrating or op.training:
        return op.out(acc)
    if record is not None:
        record("", acc)
    areas = np.diff(rows, axis=1) * np.diff(columns, axis=1)[:, 0]
    bound = int((areas * multipliers).max()) * source.magnitude
    return rescale(acc, source.exponent - shift, bound, op.out)


def _export_average(op: Operator, regions: Regions, exporter, step) -> str:
    shape = exporter.shapes[step.inputs[0]]
    rows, columns, divisors = regions.at(*shape[1:])
    multipliers, shift = _multipliers(divisors)
    exporter.put(
        RegionAverage2d(
            name=step.name,
            input=exporter.source(step),
            rows=rows,
            columns=columns,
            multiplier=multipliers,
            shift=shift,
            acc_bits=ACC_BITS[1],
        )
    )
    exponent = exporter.formats[step.inputs[0]].exponent - shift
    return exporter.rescale(step.name + ".out", step.name, exponent, op.out, shape[0])


def _adaptive(window: Window, height: int, width: int) -> Regions | None:
    """The regions of an adaptive pooling; None where all windows are equal, side by side."""
    size = tuple(
        own if wanted is None else wanted
        for wanted, own in zip(window.size, (height, width), strict=True)
    )
    if height % size[0] == width % size[1] == 0:
        return None
    return Regions(size=size)


class AdaptiveAverageOp(AvgPoolOp, Operator):
    """Mean of each window of an adaptive pooling, of maps of any size."""

    def forward(self, values, sources, record=None) -> Tensor:
        regions = _adaptive(self.window, *values[0].shape[2:])
        if regions is None:
            return super().forward(values, sources, record)
        self.copies = False
        return averaged(self, regions, values[0], sources[0], record)

    def real(self, value: Tensor) -> Tensor:
        return self.out.clamp(F.adaptive_avg_pool2d(value, self.window.size))

    def export(self, exporter, step) -> str:
        regions = _adaptive(self.window, *exporter.shapes[step.inputs[0]][1:])
        if regions is None:
            return exporter.avg_pool(step, self)
        return _export_average(self, regions, exporter, step)


class AdaptiveMaxOp(MaxPoolOp, Operator):
    """Largest value of each window of an adaptive pooling, of maps of any size."""

    def forward(self, values, sources, record=None) -> Tensor:
        return self.real(values[0])

    def real(self, value: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(value, self.window.size)

    def export(self, exporter, step) -> str:
        regions = _adaptive(self.window, *exporter.shapes[step.inputs[0]][1:])
        if regions is None:
            return exporter.max_pool(step, self)
        rows, columns, _ = regions.at(*exporter.shapes[step.inputs[0]][1:])
        return exporter.put(
            RegionMax2d(name=step.name, input=exporter.source(step), rows=rows, columns=columns)
        )
