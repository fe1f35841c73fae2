"""Convolution or linear layer, with its batch norm and activation: one unit from codes to codes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.affine import AffineNorm
from nbqnn_train.quant.centering import TINY, remember_mean
from nbqnn_train.quant.decomposed import SignZeroShift
from nbqnn_train.quant.estimators import estimator, straight_through
from nbqnn_train.quant.fold import (
    MULTIPLIER_LOG2_SHIFT_MODE,
    Requantization,
    requantization,
    shift_limit,
)
from nbqnn_train.quant.formats import Format, half_up
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.saturating import widened
from nbqnn_train.quant.transposed import TransposedGeometry
from nbqnn_train.quant.weights import (
    best_exponent,
    largest_log2,
    power_of_two,
    project,
)

__all__ = ["Geometry", "IntegerLayer", "WeightedLayer"]


@dataclass(frozen=True)
class Geometry:
    """Of a convolution; padding is (top, left, bottom, right)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def convolve(self, value: Tensor, weight: Tensor) -> Tensor:
        top, left, bottom, right = self.padding
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            value, padding = F.pad(value, (left, right, top, bottom)), (0, 0)
        return F.conv2d(value, weight, None, self.stride, padding, self.dilation, self.groups)

    def windows(self, value: Tensor, kernel: tuple[int, int]) -> Tensor:
        """A view (N, C, OH, OW, KH, KW) of what each output position sees."""
        top, left, bottom, right = self.padding
        value = F.pad(value, (left, right, top, bottom))
        for axis in (0, 1):
            reach = (kernel[axis] - 1) * self.dilation[axis] + 1
            value = value.unfold(2 + axis, reach, self.stride[axis])
        return value[..., :: self.dilation[0], :: self.dilation[1]]


@dataclass(frozen=True)
class IntegerLayer:
    """What the exported graph holds of a layer, int64.

    codes : (Cout, ...), zero or signed powers of two.
    exponent : (Cout,), the weights' steps.
    """

    codes: Tensor
    exponent: Tensor
    requantization: Requantization


def _parameter(tensor: Tensor) -> nn.Parameter:
    return tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor.detach().clone())


class WeightedLayer(nn.Module):
    """``requantize(norm(conv(x)))`` with power-of-two weights; a linear layer where ``geometry`` is
    None.

    In *shift* mode weights are projected together with the factor gamma / sigma of batch norm, so
    that nothing of it is left for the requantizer but a power of two. In *scale* mode they are
    projected alone, and gamma / sigma becomes a multiplier of up to 16 bits. Either way the sign of
    gamma goes into the weights, because the levels are symmetric and multipliers are positive.

    Parameters
    ----------
    weight : (Cout, Cin / groups, KH, KW) or (Fout, Fin); a parameter is shared, others are copied.
    bias : (Cout,) or None
    norm : batch norm over the output channels, or None
    kept : in the shape of the weights, bool: False holds a weight at zero. None keeps all.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        norm: nn.BatchNorm1d | nn.BatchNorm2d | AffineNorm | None,
        *,
        geometry: Geometry | TransposedGeometry | None,
        bits: int,
        out: ActivationQuantizer,
        mode: Mode,
        shift_mode: bool = True,
        per_tensor: bool = False,
        estimator_name: str = "reconstructed",
        kept: Tensor | None = None,
    ):
        super().__init__()
        self.weight = _parameter(weight)
        self.bias = None if bias is None else _parameter(bias)
        self.norm = norm
        self.geometry = geometry
        self.bits = bits
        self.out = out
        self.mode = mode
        self.shift_mode = shift_mode
        self.per_tensor = per_tensor
        self.estimator = estimator(estimator_name)
        self.register_buffer("kept", kept)
        self.register_buffer("exponent", torch.zeros(len(weight), dtype=torch.int64))
        self._cached: tuple | None = None
        #: What is learned in place of the weights, where sign, zero and exponent are apart; from
        #: the first quantized step on.
        self.parts = SignZeroShift(self.weight, bits) if self.estimator.apart else None
        self.refresh()

    @property
    def latent(self) -> Tensor:
        """The weights, those held at zero included."""
        apart = self.parts is not None and self.parts.begun
        weight = self.parts() if apart else self.weight
        return weight if self.kept is None else weight * self.kept

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution with filters of its own for each channel."""
        geometry = self.geometry
        return isinstance(geometry, Geometry) and geometry.groups > 1 and self.weight.shape[1] == 1

    def channel_weights(self) -> Tensor:
        """How much an error of each input channel of a depthwise layer counts, (Cin,) float64: the
        sum of the squared weights that it meets, with the gain of batch norm."""
        with torch.no_grad():
            folded = self.latent.double() * self._per_channel(self._gain(torch.float64))
            return folded.square().flatten().reshape(self.geometry.groups, -1).sum(1)

    # Pieces of the arithmetic.

    def _per_channel(self, value: Tensor) -> Tensor:
        """(Cout,) in the shape that broadcasts over the weights."""
        return value.reshape(-1, *(1,) * (self.weight.dim() - 1))

    def _on_output(self, value: Tensor) -> Tensor:
        """(Cout,) in the shape that broadcasts over the output."""
        return value if self.geometry is None else value.reshape(1, -1, 1, 1)

    def _linear(self, value: Tensor, weight: Tensor) -> Tensor:
        if self.geometry is None:
            return F.linear(value, weight)
        return self.geometry.convolve(value, weight)

    def _gain(self, dtype: torch.dtype | None = None) -> Tensor:
        """gamma / sigma of the frozen batch norm, signed, in shape (Cout,)."""
        if self.norm is None:
            return torch.ones(
                len(self.weight), dtype=dtype or self.weight.dtype, device=self.weight.device
            )
        variance = self.norm.running_var.to(dtype or self.weight.dtype)
        sigma = (variance + self.norm.eps).sqrt()
        return 1 / sigma if self.norm.weight is None else self.norm.weight.to(sigma.dtype) / sigma

    def _offset(self, gain: Tensor) -> Tensor:
        """What is added to ``gain * conv(x)``, in shape (Cout,)."""
        offset = torch.zeros_like(gain)
        if self.bias is not None:
            offset = offset + self.bias.to(gain.dtype)
        if self.norm is not None:
            offset = (offset - self.norm.running_mean.to(gain.dtype)) * gain
            if self.norm.bias is not None:
                offset = offset + self.norm.bias.to(gain.dtype)
        return offset

    def _fold(self, gain: Tensor) -> Tensor:
        """The part of the gain that goes into the weights."""
        return gain if self.shift_mode else torch.sign(gain.detach())

    def _project(self, weight: Tensor, exponent: Tensor) -> Tensor:
        return project(weight, self._per_channel(exponent), self.bits, self.estimator.codes)

    def refresh(self) -> None:
        """Chooses the weights' exponents anew."""
        with torch.no_grad():
            if self.parts is not None and self.parts.begun:
                self.exponent.copy_(self.parts.exponent + self._fold_exponent())
                return
            folded = self.latent * self._per_channel(self._fold(self._gain()))
            self.exponent.copy_(
                best_exponent(
                    folded, self.bits, per_tensor=self.per_tensor, codes=self.estimator.codes
                )
            )

    def _fold_exponent(self) -> Tensor:
        """log2 of the power of two nearest to what is folded into the weights, (Cout,) int64.

        Weights that are levels already keep their codes with it.
        """
        mantissa, power = torch.frexp(self._fold(self._gain()).abs())
        return power.long() - 1 + (mantissa >= 0.75)

    def _allowed_exponent(self, source: Format) -> Tensor:
        """The weights' exponents, limited to what a requantizer of shift mode can express."""
        if not self.shift_mode or not self.out.calibrated:
            return self.exponent
        most = self.largest_sum() * source.magnitude
        gap = self.out.format.exponent - source.exponent
        limit = shift_limit(most, self.out.bits)
        return self.exponent.clamp(gap - limit, gap + MULTIPLIER_LOG2_SHIFT_MODE)

    def largest_sum(self) -> int:
        """The largest magnitude that the codes of one output's weights can add up to."""
        return math.prod(self.weight.shape[1:]) << largest_log2(self.bits)

    # The ways to compute.

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        if self.training and self.mode.blend == 0 and not self.mode.calibrating:
            return self._train_real(value)
        if self.training or self.mode.calibrating:
            return self._train_quantized(value, None if self.mode.calibrating else source)
        return self._evaluate(value, source, record)

    def _train_real(self, value: Tensor) -> Tensor:
        """Real weights, batch norm with the statistics of the batch."""
        out = self._linear(value, self.latent)
        if self.bias is not None:
            out = out + self._on_output(self.bias)
        if self.norm is not None:
            out = self.norm(out)
        return self.out(out, overwrite=True)

    def _train_quantized(self, value: Tensor, source: Format | None) -> Tensor:
        """The scale of batch norm is folded into the weights, as in the exported graph; what is
        subtracted is the batch's mean until batch norm is frozen, then the running mean."""
        mode = self.mode
        if not mode.calibrating:
            if self.parts is not None and not self.parts.begun:
                self.parts.begin(self.weight)
            if mode.refresh:
                self.refresh()
        gain = self._gain()
        folded = self.latent * self._per_channel(self._fold(gain))
        exponent = self.exponent if source is None else self._allowed_exponent(source)
        learns = mode.blend == 1 and not mode.settled
        blend = straight_through if learns else self.estimator.blend
        weight = blend(folded, self._project(folded, exponent), mode.blend)
        out = self._linear(value, weight)
        if not self.shift_mode:
            out = widened(out) * self._on_output(gain.abs())
        follows = self.norm is not None and not isinstance(self.norm, AffineNorm)
        if follows and not mode.frozen and not mode.calibrating:
            out, mean = self.out.centered(out, self.norm.bias)
            remember_mean(self.norm, mean, gain, self.bias)
            return out
        offset = self._offset(gain)
        if mode.frozen and source is not None:
            offset = self._round_offset(offset, exponent + source.exponent)
        return self.out.offset(out, offset)

    def _round_offset(self, offset: Tensor, acc_exponent: Tensor) -> Tensor:
        """The offset on the grid of the accumulators, with a straight-through gradient."""
        if not self.shift_mode:
            return offset
        finest = torch.minimum(
            acc_exponent, torch.tensor(self.out.format.exponent).to(acc_exponent)
        )
        step = power_of_two(finest, offset.dtype)
        return offset + (half_up(offset / step) * step - offset).detach()

    def _evaluate(self, value: Tensor, source: Format, record) -> Tensor:
        """Exactly what the graph computes, where the dtype (float64) keeps sums exact."""
        layer = self.integers(source)
        step = power_of_two(layer.exponent, value.dtype)
        weight = layer.codes.to(value.dtype) * self._per_channel(step)
        acc = self._linear(value, weight)
        if record is not None:
            record("", acc)
        return self.out.requantize(acc, step * source.step, layer.requantization)

    def integers(self, source: Format) -> IntegerLayer:
        """The integers of the exported graph, from float64 whatever the dtype of the weights."""
        tensors = (*self.parameters(), *self.buffers())
        key = (source, *((t.data_ptr(), t._version) for t in tensors))
        if self._cached is None or self._cached[0] != key:
            with torch.no_grad():
                self._cached = key, self._integers(source)
        return self._cached[1]

    def folded_weight(self) -> Tensor:
        """What is projected: the latent weights with their part of batch norm, float64."""
        return self.latent.double() * self._per_channel(self._fold(self._gain(torch.float64)))

    def set_codes(self, codes: Tensor, exponent: Tensor) -> None:
        """Makes the latent weights those that are projected to ``codes * 2**exponent``.

        codes : in the shape of the weights, float64. exponent : (Cout,) int64. Where gamma is zero
        the weights are zero, whatever the codes.
        """
        with torch.no_grad():
            levels = codes.double() * self._per_channel(power_of_two(exponent, torch.float64))
            fold = self._fold(self._gain(torch.float64))
            levels = levels / self._per_channel(torch.where(fold == 0, 1.0, fold))
            self.weight.copy_(levels)
            self.exponent.copy_(exponent)
            if self.parts is not None:
                first = exponent - self._fold_exponent()
                step = self._per_channel(power_of_two(first, torch.float64) * torch.sign(fold))
                self.parts.begin((codes * step).to(self.weight), first)

    def add_to_output(self, amount: Tensor) -> None:
        """Adds ``amount`` (Cout,) to the outputs, in units of what projected weights give.

        Batch norm subtracts a mean that is less by that; without it the bias takes it up. There
        must be one of them.
        """
        with torch.no_grad():
            if self.norm is not None:
                fold = self._fold(self._gain(torch.float64))
                change = torch.where(fold.abs() < TINY, 0.0, amount / fold)
                self.norm.running_mean -= change.to(self.norm.running_mean)
                return
            self.bias += amount.to(self.bias)

    def _integers(self, source: Format) -> IntegerLayer:
        gain = self._gain(torch.float64)
        folded = self.folded_weight()
        exponent = self._allowed_exponent(source)
        codes = self.estimator.codes(folded, self._per_channel(exponent), self.bits).long()
        target = self.out.format
        scale = power_of_two(exponent + source.exponent - target.exponent, torch.float64)
        if not self.shift_mode:
            scale = scale * gain.abs()
        bound = int(codes.abs().flatten(1).sum(dim=1).max()) * source.magnitude
        rule = requantization(
            scale,
            self._offset(gain),
            target.exponent,
            target.bits,
            bound,
            shift_mode=self.shift_mode,
        )
        return IntegerLayer(codes, exponent, rule)
