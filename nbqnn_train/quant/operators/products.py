"""Sums with factors, products, and constants that take part in them."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.graph.operators import Constant, Multiply, Sum
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.fold import MULTIPLIER_LOG2_SHIFT_MODE
from nbqnn_train.quant.formats import Format, fake_quantize
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.ops import rescale

__all__ = ["ConstantValue", "MultiplyOp", "SumOp"]


class ConstantValue(nn.Module):
    """A value that is the same for every image.

    value : (C, H, W) or (F,); a parameter learns, others stay.
    bits : of its codes.
    """

    def __init__(self, value: Tensor, bits: int):
        super().__init__()
        self.bits = bits
        if isinstance(value, nn.Parameter):
            self.value = value
        else:
            self.register_buffer("value", value.detach().to(torch.get_default_dtype()))

    @property
    def format(self) -> Format:
        """The finest in which every value has a code."""
        value = self.value.detach().double()
        signed = bool((value < 0).any())
        high = Format(self.bits, signed, 0).high
        largest = float(value.abs().max())
        exponent = 0 if largest == 0 else max(math.ceil(math.log2(largest / high)), -60)
        return Format(self.bits, signed, exponent)

    def quantized(self) -> Tensor:
        """Values of the codes, with a straight-through gradient."""
        fmt = self.format
        return fake_quantize(self.value, fmt.step, fmt.low, fmt.high)

    def export(self, exporter, name: str) -> str:
        fmt = self.format
        codes = (self.quantized().detach().double() / fmt.step).round().long()
        return exporter.put(
            Constant(
                name=name,
                codes=codes.cpu().numpy(),
                bits=fmt.bits,
                signed=fmt.signed,
                exponent=fmt.exponent,
            )
        )


class _WithConstant(Operator):
    """Base of operations on two or more values, the last of which may be a constant."""

    def __init__(self, out: ActivationQuantizer, constant: ConstantValue | None):
        super().__init__()
        self.out = out
        self.constant = constant

    def _combined(self, values: list[Tensor], record=None) -> Tensor:
        raise NotImplementedError

    def _exponent(self, sources: list[Format]) -> int:
        """Of the accumulators."""
        raise NotImplementedError

    def _bound(self, sources: list[Format]) -> int:
        """The largest magnitude of an accumulator."""
        raise NotImplementedError

    def _node(self, exporter, step, operands: tuple[str, ...], sources: list[Format]):
        raise NotImplementedError

    def _sources(self, sources: list[Format]) -> list[Format]:
        return [*sources] if self.constant is None else [*sources, self.constant.format]

    def forward(self, values, sources, record=None) -> Tensor:
        real = self.out.mode.calibrating or (self.training and not self.out.mode.activations)
        if self.constant is not None:
            constant = self.constant.value if real else self.constant.quantized()
            constant = constant.to(values[0].dtype)
            if record is not None:
                record(".constant", constant.expand(len(values[0]), *constant.shape))
            values = [*values, constant]
        acc = self._combined(values, record)
        if self.out.mode.calibrating or self.training:
            return self.out(acc)
        if record is not None:
            record("", acc)
        sources = self._sources(sources)
        return rescale(acc, self._exponent(sources), self._bound(sources), self.out)

    def real(self, *values: Tensor) -> Tensor:
        if self.constant is not None:
            values = (*values, self.constant.value.to(values[0].dtype))
        return self.out.clamp(self._combined(list(values)))

    def finest_exponent(self, sources: list[Format]) -> int:
        return self._exponent(self._sources(sources)) - MULTIPLIER_LOG2_SHIFT_MODE

    def negative(self, signed: list[bool]) -> bool:
        signed = [*signed, self.constant is not None and self.constant.format.signed]
        return super().negative(signed)

    def export(self, exporter, step) -> str:
        operands = tuple(exporter.names[source] for source in step.inputs)
        if self.constant is not None:
            operands += (self.constant.export(exporter, step.name + ".constant"),)
        sources = self._sources([exporter.formats[source] for source in step.inputs])
        exporter.put(self._node(exporter, step, operands, sources))
        return exporter.rescale(
            step.name + ".out",
            step.name,
            self._exponent(sources),
            self.out,
            exporter.channels(step.name),
        )


class MultiplyOp(_WithConstant):
    """Product of two values, element by element; the second may be one factor by channel."""

    def _combined(self, values, record=None):
        return values[0] * values[1]

    def _exponent(self, sources):
        return sum(source.exponent for source in sources)

    def _bound(self, sources):
        return math.prod(source.magnitude for source in sources)

    def _node(self, exporter, step, operands, sources):
        return Multiply(name=step.name, operands=operands, acc_bits=ACC_BITS[1])


class SumOp(_WithConstant):
    """Sum of values, each times 1 or -1 and a power of two.

    factors : of each value, a constant counted as the last one.
    """

    def __init__(
        self,
        factors: tuple[float, ...],
        out: ActivationQuantizer,
        constant: ConstantValue | None = None,
    ):
        super().__init__(out, constant)
        self.factors = factors

    def _combined(self, values, record=None):
        total = 0
        for number, (value, factor) in enumerate(zip(values, self.factors, strict=True)):
            if record is not None and abs(factor) != 1:
                record(f".operand{number}", value * abs(factor))
            total = total + value * factor
        return total

    def _exponents(self, sources: list[Format]) -> list[int]:
        return [
            source.exponent + math.frexp(abs(factor))[1] - 1
            for source, factor in zip(sources, self.factors, strict=True)
        ]

    def _exponent(self, sources):
        return min(self._exponents(sources))

    def _bound(self, sources):
        exponents = self._exponents(sources)
        return sum(
            source.magnitude << (exponent - min(exponents))
            for source, exponent in zip(sources, exponents, strict=True)
        )

    def _node(self, exporter, step, operands, sources):
        exponents = self._exponents(sources)
        return Sum(
            name=step.name,
            operands=self._scaled(exporter, step, operands, sources),
            shifts=tuple(exponent - min(exponents) for exponent in exponents),
            signs=tuple(1 if factor > 0 else -1 for factor in self.factors),
            acc_bits=ACC_BITS[1],
        )

    def _scaled(self, exporter, step, operands: tuple[str, ...], sources: list[Format]):
        """Operands whose factor is no sign get its power of two in their exponent."""
        named = list(operands)
        for number, exponent in enumerate(self._exponents(sources)):
            source = sources[number]
            if exponent != source.exponent:
                fmt = replace(source, exponent=exponent)
                channels = exporter.channels(step.name)
                name = f"{step.name}.operand{number}"
                named[number] = exporter.keep(name, operands[number], fmt, channels)
        return tuple(named)

    def negative(self, signed: list[bool]) -> bool:
        if self.out.limits[0] >= 0:
            return False
        return min(self.factors) < 0 or super().negative(signed)
