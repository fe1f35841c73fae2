"""The quantizer at the end of every layer: records ranges, chooses the format, quantizes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.centering import centered, channel_shape
from nbqnn_train.quant.fold import Requantization
from nbqnn_train.quant.formats import Format, fake_quantize
from nbqnn_train.quant.fused import quantized_centered, quantized_offset, quantized_sum
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quant.saturating import widened
from nbqnn_train.quant.weights import power_of_two

__all__ = ["EXPONENTS", "ActivationQuantizer"]

#: The largest exponent of a format that is chosen, and about the smallest one, negated.
EXPONENTS = 60

#: Values kept per calibration batch; enough for errors and percentiles of a whole tensor.
_SAMPLES = 1 << 15
#: Exponents tried below the one that clips nothing.
_FINER = 6
#: The same where a function follows (a sigmoid needs little of a wide range), or where channels
#: count differently.
_FINER_WITH_READER = 12


def _stride(count: int) -> int:
    """The least step without a divisor in common with ``count`` that takes at most ``_SAMPLES``.

    A step with a common divisor, such as a map's width, would take the same columns (rows,
    channels) again and again, and the others never.
    """
    stride = max(1, -(-count // _SAMPLES))
    while math.gcd(stride, count) > 1:
        stride += 1
    return stride


class ActivationQuantizer(nn.Module):
    """``code = clip(floor(value / 2**exponent + 1/2), low, high)`` with an exponent for the whole
    tensor.

    Parameters
    ----------
    bits : width of the codes, 2 ... 16.
    mode : the phase shared by the whole network.
    limits : real values are clipped to this range first (ReLU is ``(0, inf)``).
    percentile : None chooses the exponent of the least squared error; a number in (0, 100] chooses
        the finest exponent that does not clip that share of the values' magnitudes.
    """

    def __init__(
        self,
        bits: int,
        mode: Mode,
        *,
        limits: tuple[float, float] = (-math.inf, math.inf),
        percentile: float | None = None,
    ):
        super().__init__()
        self.bits = bits
        self.mode = mode
        self.limits = limits
        self.percentile = percentile
        #: (exponent, signed, calibrated): one integer buffer, so that any state dictionary carries
        #: it.
        self.register_buffer("state", torch.zeros(3, dtype=torch.int64))
        #: What a format costs at each value, from real values and rounded ones; None for the
        #: squared error. What reads the values may set it.
        self.error: Callable[[Tensor, Tensor], Tensor] | None = None
        #: Gives how much an error counts in each channel, (C,) float64; None where all count alike.
        self.weights: Callable[[], Tensor] | None = None
        self._samples: list[Tensor] = []
        #: What counts for each of the samples.
        self._counted: list[Tensor] = []
        self._cached: tuple[tuple[int, int], tuple[int, int, int]] | None = None

    def _values(self) -> tuple[int, int, int]:
        # Reading a buffer on an accelerator waits for it; the version tells whether it changed.
        key = (self.state.data_ptr(), self.state._version)
        if self._cached is None or self._cached[0] != key:
            self._cached = key, tuple(self.state.tolist())
        return self._cached[1]

    @property
    def calibrated(self) -> bool:
        return bool(self._values()[2])

    @property
    def format(self) -> Format:
        exponent, signed, calibrated = self._values()
        if not calibrated:
            raise NbqnnError("Network must be calibrated before its activations are quantized")
        return Format(self.bits, bool(signed), exponent)

    def set_format(self, exponent: int, signed: bool) -> None:
        self.state.copy_(torch.tensor([exponent, int(signed), 1]))

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code that leave the quantizer."""
        return self.format.code_range(*self.limits)

    def clamp(self, value: Tensor) -> Tensor:
        low, high = self.limits
        if low == 0 and math.isinf(high):
            return torch.relu(value)
        if math.isinf(low) and math.isinf(high):
            return value
        return value.clamp(low, high)

    def forward(self, value: Tensor, *, overwrite: bool = False) -> Tensor:
        """In training: the quantized value with a straight-through gradient, or real values.

        ``overwrite`` says that nobody needs ``value`` any more, not even for a gradient.
        """
        if self.mode.calibrating:
            value = self.clamp(value)
            self.observe(value)
            return value
        if not self._quantizes:
            return self.clamp(value)
        return fake_quantize(value, *self._codes, overwrite=overwrite)

    def centered(self, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """In training: what becomes of :func:`~nbqnn_train.quant.centering.centered`, and the mean.

        ``value`` (N, C, ...) may be overwritten, here and below.
        """
        if self._quantizes:
            return quantized_centered(value, bias, *self._codes)
        value, mean = centered(value, bias)
        return self(value, overwrite=True), mean

    def offset(self, value: Tensor, offset: Tensor) -> Tensor:
        """In training: what becomes of ``value`` (N, C, ...) plus ``offset`` (C,)."""
        if self._quantizes:
            return quantized_offset(value, offset, *self._codes)
        return self(value + offset.reshape(channel_shape(value)), overwrite=True)

    def total(self, first: Tensor, second: Tensor) -> Tensor:
        """In training: what becomes of a sum."""
        if self._quantizes and first.shape == second.shape:
            return quantized_sum(first, second, *self._codes)
        return self(widened(first) + widened(second), overwrite=True)

    @property
    def _quantizes(self) -> bool:
        mode = self.mode
        return mode.activations and not mode.calibrating and self.calibrated

    @property
    def _codes(self) -> tuple[float, int, int]:
        """The step, the smallest and the largest code."""
        return (self.format.step, *self.code_range)

    def requantize(self, acc: Tensor, acc_step: Tensor, rule: Requantization) -> Tensor:
        """The graph's ``Requantize``: real values (N, C, ...) of accumulators to those of codes.

        ``acc_step`` holds the accumulators' steps, (C,) or (1,). Scaling by powers of two does not
        round, so floating point computes the integer formula to the bit while all sums fit the
        mantissa: in float64 always, in float32 where ``rule.reach`` is small.
        """
        single = acc.dtype == torch.float32 and rule.reach < 1 << 24
        dtype = torch.float32 if single else torch.float64
        shape = (-1,) + (1,) * (acc.dim() - 2)
        unit = power_of_two(-rule.shift, dtype)
        scale = rule.multiplier.to(dtype) * unit / acc_step.to(dtype)
        offset = (rule.bias + ((1 << rule.shift) >> 1)).to(dtype) * unit
        codes = (acc.to(dtype) * scale.reshape(shape)).add_(offset.reshape(shape))
        codes = codes.floor_().clamp_(*self.code_range)
        return codes.mul_(self.format.step).to(acc.dtype)

    # Calibration.

    def reset(self) -> None:
        """Forgets recorded values."""
        self._samples, self._counted = [], []

    def observe(self, value: Tensor) -> None:
        """Records values: an evenly spaced sample, and the extremes."""
        flat = value.detach().flatten().float()
        extremes = torch.stack(torch.aminmax(flat))  # nan if one value is
        if not torch.isfinite(extremes).all():
            raise NbqnnError("Calibration data must give finite activations, not nan or inf")
        stride = _stride(flat.numel())
        self._samples.append(torch.cat([flat[::stride], extremes]))
        if self.weights is not None:
            places = torch.arange(0, flat.numel(), stride, device=flat.device)
            places = torch.cat([places, torch.stack([flat.argmin(), flat.argmax()])])
            channels = places // math.prod(value.shape[2:]) % value.shape[1]
            self._counted.append(self.weights().to(flat.device)[channels])

    def recorded_negative(self) -> bool:
        return any(bool((sample < 0).any()) for sample in self._samples)

    def recorded(self) -> list[Tensor]:
        """What was observed, a tensor (n,) for each batch."""
        return self._samples

    def counted(self) -> list[Tensor] | None:
        """How much an error of each recorded value counts; None where all count alike."""
        return self._counted if self.weights is not None else None

    def best_exponent(
        self,
        samples: list[Tensor],
        signed: bool,
        error: Callable[[Tensor, Tensor], Tensor] | None = None,
        counted: list[Tensor] | None = None,
    ) -> int:
        """The exponent for values like ``samples``: the sum of ``error`` times ``counted`` is made
        least."""
        if not samples:
            raise NbqnnError("Calibration must see at least one batch, not none")
        values = torch.cat(samples)
        high = Format(self.bits, signed, 0).high
        magnitude = values.abs()
        if self.percentile is not None:
            rank = max(1, math.ceil(len(values) * self.percentile / 100))
            largest = float(magnitude.kthvalue(rank).values)
        else:
            largest = float(magnitude.max())
        if largest == 0:
            return 0
        coarse = min(max(math.ceil(math.log2(largest / high)), -60), 60)
        if self.percentile is not None:
            return coarse
        errors = {}
        weights = None if counted is None else torch.cat(counted)
        finer = _FINER if error is None and weights is None else _FINER_WITH_READER
        for exponent in range(coarse, coarse - finer, -1):
            fmt = Format(self.bits, signed, exponent)
            step = float(power_of_two(torch.tensor(exponent), torch.float64))
            rounded = fake_quantize(values, step, fmt.low, fmt.high)
            lost = (rounded - values).square() if error is None else error(values, rounded)
            total = float((lost.double() if weights is None else lost * weights).sum())
            errors[exponent] = total if math.isfinite(total) else math.inf
        return min(errors, key=errors.get)
