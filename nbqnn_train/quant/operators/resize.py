"""Interpolation: linear between the centres of positions, or with any neighbours."""

import numpy as np
import torch
from torch import Tensor

from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.nodes import Node
from nbqnn_train.graph.operators import Bilinear2d, Interpolate2d
from nbqnn_train.graph.operators.resize import bilinear_taps
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.fold import MULTIPLIER_LOG2_SHIFT_MODE
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.ops import rescale

__all__ = ["BilinearOp", "InterpolateOp"]

#: Shares of neighbours are multiples of 2 to minus this.
_SHARE_BITS = 8


def _weights(size: int, factor: int, like: Tensor) -> Tensor:
    """(size * factor, size): how much of each position an output takes; dyadic, 1 in all."""
    positions, counts = (torch.from_numpy(array) for array in bilinear_taps(size, factor))
    matrix = torch.zeros(size * factor, size, dtype=like.dtype, device=like.device)
    matrix.scatter_add_(1, positions.to(like.device), counts.to(like))
    return matrix / (2 * factor if factor > 1 else 1)


class _Interpolation(Operator):
    """Base of both: weighted sums of neighbours, rounded once.

    shift : weights are multiples of ``2**-shift``.
    gain : the largest sum of magnitudes of an output's weights, in those multiples.
    """

    def __init__(self, shift: int, gain: int, out: ActivationQuantizer):
        super().__init__()
        self.shift, self.gain, self.out = shift, gain, out

    def weighted(self, value: Tensor) -> Tensor:
        """The sums, with the graph's weights."""
        raise NotImplementedError

    def node(self, name: str, source: str) -> Node:
        """The graph's node."""
        raise NotImplementedError

    def forward(self, values, sources, record=None) -> Tensor:
        acc = self.weighted(values[0])
        if self.out.mode.calibrating or self.training:
            return self.out(acc)
        if record is not None:
            record("", acc)
        (source,) = sources
        return rescale(acc, source.exponent - self.shift, source.magnitude * self.gain, self.out)

    def finest_exponent(self, sources: list[Format]) -> int:
        return sources[0].exponent - self.shift - MULTIPLIER_LOG2_SHIFT_MODE

    def export(self, exporter, step) -> str:
        exporter.put(self.node(step.name, exporter.source(step)))
        exponent = exporter.formats[step.inputs[0]].exponent - self.shift
        channels = exporter.channels(step.name)
        return exporter.rescale(step.name + ".out", step.name, exponent, self.out, channels)


class BilinearOp(_Interpolation):
    """A map enlarged by ``factor`` (vertical, horizontal), each 1, 2, 4, 8 or 16."""

    def __init__(self, factor: tuple[int, int], out: ActivationQuantizer):
        # log2 of the sum of the counts of positions.
        shift = sum(each.bit_length() for each in factor if each > 1)
        super().__init__(shift, 1 << shift, out)
        self.factor = factor

    def _between(self, value: Tensor) -> Tensor:
        rows, columns = (
            _weights(size, factor, value)
            for size, factor in zip(value.shape[2:], self.factor, strict=True)
        )
        return rows @ value @ columns.mT

    def weighted(self, value: Tensor) -> Tensor:
        return self._between(value)

    def real(self, value: Tensor) -> Tensor:
        return self.out.clamp(self._between(value))

    def node(self, name: str, source: str) -> Node:
        return Bilinear2d(name=name, input=source, factor=self.factor, acc_bits=ACC_BITS[1])


class InterpolateOp(_Interpolation):
    """Interpolation along one axis: every output is a sum of neighbours with their shares.

    axis : 0 for rows, 1 for columns.
    size : of the axis, before.
    first : of each row or column of the output, its first neighbour.
    shares : and those of its neighbours, T of them, 1 in all.

    Shares are rounded to multiples of 1/256, 1 in all, in training too.
    """

    def __init__(
        self,
        axis: int,
        size: int,
        first: tuple[int, ...],
        shares: tuple[tuple[float, ...], ...],
        out: ActivationQuantizer,
    ):
        real = np.array(shares)
        rounded = np.floor(np.ldexp(real, _SHARE_BITS) + 0.5).astype(np.int64)
        rest = (1 << _SHARE_BITS) - rounded.sum(axis=1)
        rounded[np.arange(len(rounded)), np.abs(real).argmax(axis=1)] += rest
        # As few bits as all of them need.
        used = int(np.bitwise_or.reduce(rounded, axis=None))
        spare = (used & -used).bit_length() - 1
        rounded >>= spare
        super().__init__(_SHARE_BITS - spare, int(np.abs(rounded).sum(axis=1).max()), out)
        self.axis, self.size = axis, size
        self._first, self._real, self._shares = np.array(first), real, rounded

    def _sums(self, value: Tensor, shares: np.ndarray) -> Tensor:
        taps = np.arange(shares.shape[1])
        matrix = np.zeros((len(shares), self.size))
        matrix[np.arange(len(shares))[:, np.newaxis], self._first[:, np.newaxis] + taps] = shares
        matrix = torch.from_numpy(matrix).to(value)
        return matrix @ value if self.axis == 0 else value @ matrix.mT

    def weighted(self, value: Tensor) -> Tensor:
        return self._sums(value, np.ldexp(self._shares, -self.shift))

    def real(self, value: Tensor) -> Tensor:
        return self.out.clamp(self._sums(value, self._real))

    def node(self, name: str, source: str) -> Node:
        return Interpolate2d(
            name=name,
            input=source,
            axis=self.axis,
            first=self._first,
            share=self._shares,
            shift=self.shift,
            acc_bits=ACC_BITS[1],
        )
