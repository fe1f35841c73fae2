"""Batch norm that no convolution precedes: a requantizer of activations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.affine import AffineNorm
from nbqnn_train.quant.centering import TINY, remember_mean
from nbqnn_train.quant.fold import (
    MULTIPLIER_LOG2_SHIFT_MODE,
    Requantization,
    requantization,
    shift_limit,
)
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.weights import power_of_two

__all__ = ["IntegerNorm", "NormOp"]


@dataclass(frozen=True)
class IntegerNorm:
    """``sign`` (C,) int64 in -1, 0, 1 multiplies the codes before they are requantized."""

    sign: Tensor
    requantization: Requantization


def _per_channel(numbers: Tensor, value: Tensor) -> Tensor:
    """(C,) in the shape that broadcasts over ``value``, (N, C, H, W) or (N, C)."""
    return numbers.reshape(-1, *(1,) * (value.dim() - 2))


class NormOp(nn.Module):
    """``requantize(norm(x))`` with the activation function that follows.

    In shift mode gamma / sigma is rounded to the nearest power of two, while training as well.
    Channels whose gamma is negative or zero need a sign: the graph gets a depthwise convolution for
    it, or a diagonal linear layer where the input is a vector.
    """

    def __init__(
        self,
        norm: nn.BatchNorm1d | nn.BatchNorm2d | AffineNorm,
        out: ActivationQuantizer,
        *,
        shift_mode: bool,
    ):
        super().__init__()
        self.norm = norm
        self.out = out
        self.shift_mode = shift_mode

    def _gain(self, dtype: torch.dtype) -> Tensor:
        sigma = (self.norm.running_var.to(dtype) + self.norm.eps).sqrt()
        return 1 / sigma if self.norm.weight is None else self.norm.weight.to(dtype) / sigma

    def _magnitude(self, gain: Tensor, source: Format | None) -> Tensor:
        """|gain|, in shift mode a power of two that the requantizer can express."""
        magnitude = gain.detach().abs().clamp_min(TINY)
        if not self.shift_mode:
            return magnitude
        mantissa, power = torch.frexp(magnitude)
        log2 = power.long() - 1 + (mantissa >= 0.75)
        if source is not None and self.out.calibrated:
            gap = self.out.format.exponent - source.exponent
            limit = shift_limit(source.magnitude, self.out.bits)
            log2 = log2.clamp(gap - limit, gap + MULTIPLIER_LOG2_SHIFT_MODE)
        return power_of_two(log2, gain.dtype)

    def _offset(self, gain: Tensor) -> Tensor:
        """``gain`` is the one that is used, rounded or not."""
        offset = -self.norm.running_mean.to(gain.dtype) * gain
        return offset if self.norm.bias is None else offset + self.norm.bias.to(gain.dtype)

    def forward(self, values, sources, record=None) -> Tensor:
        (value,), (source,) = values, sources
        mode = self.out.mode
        if self.training and mode.blend == 0 and not mode.calibrating:
            return self.out(self.norm(value))
        if not self.training and not mode.calibrating:
            return self._evaluate(value, source, record)
        gain = self._gain(value.dtype)
        used = torch.sign(gain.detach()) * self._magnitude(gain, source)
        used = used + gain - gain.detach()
        scaled = value * _per_channel(used, value)
        if mode.frozen or mode.calibrating or isinstance(self.norm, AffineNorm):
            return self.out.offset(scaled, self._offset(used))
        result, mean = self.out.centered(scaled, self.norm.bias)
        remember_mean(self.norm, mean, used)
        return result

    def _evaluate(self, value: Tensor, source: Format, record) -> Tensor:
        rule = self.integers(source)
        signed = value * _per_channel(rule.sign.to(value.dtype), value)
        if record is not None and not self.positive():
            record("", signed)
        step = torch.full((1,), source.step, dtype=torch.float64, device=value.device)
        return self.out.requantize(signed, step, rule.requantization)

    def positive(self) -> bool:
        """Whether no channel needs a sign."""
        return bool((self._gain(torch.float64) > 0).all())

    def negative(self, signed: list[bool]) -> bool:
        """Whether its values can be negative, from whether its input can.

        What learns can become negative.
        """
        if self.out.limits[0] >= 0:
            return False
        if signed[0] or any(True for _ in self.norm.parameters()):
            return True
        if not isinstance(self.norm, AffineNorm):
            return True
        gain = self._gain(torch.float64)
        return bool((gain < 0).any() or (self._offset(gain) < 0).any())

    def integers(self, source: Format) -> IntegerNorm:
        """The integers of the exported graph."""
        with torch.no_grad():
            gain = self._gain(torch.float64)
            magnitude = self._magnitude(gain, source)
            sign = torch.sign(gain)
            target = self.out.format
            rule = requantization(
                magnitude * 2.0 ** (source.exponent - target.exponent),
                self._offset(sign * magnitude),
                target.exponent,
                target.bits,
                source.magnitude,
                shift_mode=self.shift_mode,
            )
        return IntegerNorm(sign.long(), rule)
