"""Positions around a map: a constant, its border, or its mirror image."""

import math

from torch import Tensor
from torch.nn import functional as F

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.operators import Pad2d
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.operators.operator import Operator

__all__ = ["PadOp"]


class PadOp(Operator):
    """The map with positions around it, in the format of the map.

    padding : (top, left, bottom, right). mode : "constant", "replicate" or "reflect".
    value : of what is around the map where the mode is "constant", a real number.
    path : of the layer, for errors.
    """

    def __init__(self, padding: tuple[int, int, int, int], mode: str, value: float, path: str):
        super().__init__()
        self.padding = padding
        self.mode = mode
        self.value = value
        self.path = path

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        return self._padded(
            value, self.value if source is None else self._code(source) * source.step
        )

    def real(self, value: Tensor) -> Tensor:
        return self._padded(value, self.value)

    def _padded(self, value: Tensor, around: float) -> Tensor:
        top, left, bottom, right = self.padding
        sizes = (left, right, top, bottom)
        if self.mode == "constant":
            return F.pad(value, sizes, value=around)
        return F.pad(value, sizes, mode=self.mode)

    def _code(self, source: Format) -> int:
        if self.mode != "constant":
            return 0
        code = math.floor(self.value / source.step + 0.5)
        if not source.low <= code <= source.high:
            low, high = source.low * source.step, source.high * source.step
            raise NbqnnError(
                f"{self.path}: padding must be in {low:g}..{high:g}, the range of the map, not "
                f"{self.value:g}; pad with zeros, or clamp the map to a range that holds it"
            )
        return code

    def export(self, exporter, step) -> str:
        source = exporter.formats[step.inputs[0]]
        return exporter.put(
            Pad2d(
                name=step.name,
                input=exporter.source(step),
                padding=self.padding,
                mode=self.mode,
                value=self._code(source),
            )
        )
