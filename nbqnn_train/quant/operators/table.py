"""A function of each element: a table that has a code for every code."""

import numpy as np
import torch
from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.operators import Table
from nbqnn_train.graph.operators.table import table_codes
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.pointwise import Pointwise

__all__ = ["TableOp"]

#: Up to so many bits every code of the input has an entry; beyond there are 2**8 + 1 knots.
_WHOLE_BITS = 8
#: Below this a function counts as zero: its own rounding.
_NOISE = 1e-9


class TableOp(Operator):
    """``f(x)`` of each element, with the limits of the activation function that follows.

    Every entry is ``f`` in float64, rounded to the output's format. Inputs of more than 8 bits are
    interpolated between 257 knots, as SPEC.md states.

    path : of the layer, for errors.
    """

    def __init__(self, function: Pointwise, out: ActivationQuantizer, path: str):
        super().__init__()
        self.function = function
        self.out = out
        self.path = path
        self._cached: tuple | None = None

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        mode = self.out.mode
        if mode.calibrating:
            return self.out(self.function(value))
        if not self.training:
            return self._looked_up(value, source)
        result = self.function(value)
        if mode.activations and source is not None and source.bits > _WHOLE_BITS:
            result = result + (self._looked_up(value, source) - result).detach()
        return self.out(result)

    def real(self, value: Tensor) -> Tensor:
        weight = self.function.weight
        if weight is not None and weight.dtype != value.dtype:
            return self.out.clamp(self.function.exactly(value).to(value.dtype))
        return self.out.clamp(self.function(value))

    def _looked_up(self, value: Tensor, source: Format) -> Tensor:
        codes = torch.from_numpy(table_codes(self.table(source), source.bits))
        values = (codes.double() * self.out.format.step).to(value)
        index = (value.detach() / source.step).round().long() - source.low
        return values[index.clamp_(0, (1 << source.bits) - 1)]

    def table(self, source: Format) -> np.ndarray:
        """The entries or knots for inputs of the format ``source``, int64."""
        weight = self.function.weight
        target, limits = self.out.format, self.out.code_range
        key = (source, target, limits)
        key += () if weight is None else (weight.data_ptr(), weight._version)
        if self._cached is None or self._cached[0] != key:
            self._cached = key, self._entries(source, target, limits)
        return self._cached[1]

    def _entries(self, source: Format, target: Format, limits: tuple[int, int]) -> np.ndarray:
        if source.bits <= _WHOLE_BITS:
            codes = torch.arange(source.low, source.high + 1)
        else:
            apart = 1 << (source.bits - _WHOLE_BITS)
            codes = torch.arange(source.low, source.high + 2, apart)
        device = "cpu" if self.function.weight is None else self.function.weight.device
        points = codes.double().to(device) * source.step
        results = self.function.exactly(points)
        finite = torch.isfinite(results)
        if not bool(finite.all()):
            at = int(finite.int().argmin())
            raise NbqnnError(
                f"{self.path}: {self.function.label} must be finite for every value of its input, "
                f"not {float(results[at])} at {float(points[at]):g}; clamp the input before it"
            )
        rounded = torch.floor(results / target.step + 0.5).clamp(*limits)
        return rounded.long().cpu().numpy()

    def negative(self, signed: list[bool]) -> bool:
        if self.out.limits[0] >= 0:
            return False
        sizes = torch.logspace(-10, 10, 641, base=2, dtype=torch.float64)
        points = torch.cat([sizes, -sizes]) if signed[0] else sizes
        if self.function.weight is not None:
            points = points.to(self.function.weight.device)
        results = self.function.exactly(points)
        return bool((results[torch.isfinite(results)] < -_NOISE).any())

    def error(self, value: Tensor, rounded: Tensor) -> Tensor:
        """Squared errors of the results where ``rounded`` takes the place of ``value``."""
        device = value.device if self.function.weight is None else self.function.weight.device
        pair = (self.function.exactly(x.to(device)) for x in (value, rounded))
        wanted, found = map(self.out.clamp, pair)
        return (found - wanted).square().to(value.device)

    def export(self, exporter, step) -> str:
        source = exporter.formats[step.inputs[0]]
        target = self.out.format
        return exporter.put(
            Table(
                name=step.name,
                input=exporter.source(step),
                table=self.table(source),
                bits=target.bits,
                signed=target.signed,
                exponent=target.exponent,
            )
        )
