"""How random graphs grow by the kinds of :mod:`nbqnn_train.graph.operators`."""

import numpy as np
from hypothesis import strategies as st

from nbqnn_train.graph import (
    ArgMax,
    Bilinear2d,
    Channels,
    Constant,
    ConvTranspose2d,
    DepthToSpace,
    Flip2d,
    Interpolate2d,
    Multiply,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Slice2d,
    SpaceToDepth,
    Sum,
    Table,
    Unflatten,
    Upsample2d,
)

__all__ = ["OperatorGrowth"]


class OperatorGrowth:
    """What :class:`tests.graph.strategies._Builder` does for operators; it has ``draw``, ``random``
    and the methods that append nodes."""

    def growth(self, kind):
        """The method that grows by ``kind``."""
        method = getattr(self, f"_grow_{kind.__name__.lower()}")
        maps = kind not in (Table, Sum, Multiply, Constant, Channels, Unflatten, ArgMax)
        return lambda source, code: method(source, code) if not maps or len(code.shape) == 3 else 0

    def _format(self) -> dict:
        return {
            "bits": self.draw(st.sampled_from(self.space.act_bits)),
            "signed": self.draw(st.sampled_from(self.space.signed)),
            "exponent": self.draw(st.integers(-8, 2)),
        }

    def _codes(self, shape, bits: int, signed: bool) -> np.ndarray:
        low = -(1 << bits - 1) if signed else 0
        return self.random.integers(low, low + (1 << bits), shape)

    def _grow_table(self, source, code):
        kind = self._format()
        size = 1 << code.bits
        if code.bits > 8 or self.draw(st.booleans()):
            size = (1 << self.draw(st.integers(0, min(code.bits - 1, 8)))) + 1
        table = self._codes(size, kind["bits"], kind["signed"])
        self.append(Table, input=source, table=table, **kind)

    def _operands(self, source, code, count: int) -> list[str]:
        others = [name for name in self.activations() if self.type_of(name).shape == code.shape]
        return [source, *(self.draw(st.sampled_from(others)) for _ in range(count - 1))]

    def _grow_sum(self, source, code):
        operands = self._operands(source, code, self.draw(st.integers(2, 4)))
        exponents = [self.type_of(name).exponent for name in operands]
        step = min(exponents) - self.draw(st.integers(0, 2))
        signs = tuple(self.draw(st.sampled_from((1, -1))) for _ in operands)
        shifts = tuple(exponent - step for exponent in exponents)
        if max(shifts) > 20:
            return
        self.requantized(
            self.append(Sum, operands=tuple(operands), shifts=shifts, signs=signs, acc_bits=48)
        )

    def _grow_multiply(self, source, code):
        factors = [
            name
            for name in self.activations()
            if self.type_of(name).shape == code.shape
            or (len(code.shape) == 3 and self.type_of(name).shape == (code.shape[0], 1, 1))
        ]
        other = self.draw(st.sampled_from(factors))
        self.requantized(self.append(Multiply, operands=(source, other), acc_bits=48))

    def _grow_constant(self, source, code):
        kind = self._format()
        shape = code.shape
        if len(shape) == 3 and self.draw(st.booleans()):
            shape = (shape[0], 1, 1)
        codes = self._codes(shape, kind["bits"], kind["signed"])
        constant = self.append(Constant, codes=codes, **kind)
        self.requantized(self.append(Multiply, operands=(source, constant), acc_bits=48))

    def _grow_channels(self, source, code):
        count = self.draw(st.integers(1, 6))
        self.append(Channels, input=source, index=self.random.integers(0, code.shape[0], count))

    def _grow_unflatten(self, source, code):
        if len(code.shape) == 1:
            sizes = [d for d in range(1, code.shape[0] + 1) if code.shape[0] % d == 0]
            channels = self.draw(st.sampled_from(sizes))
            rest = code.shape[0] // channels
            height = self.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
            self.append(Unflatten, input=source, shape=(channels, height, rest // height))

    def _grow_depthtospace(self, source, code):
        blocks = [b for b in (1, 2, 3) if code.shape[0] % b**2 == 0]
        self.append(DepthToSpace, input=source, block=self.draw(st.sampled_from(blocks)))

    def _grow_spacetodepth(self, source, code):
        blocks = [b for b in (1, 2, 3) if code.shape[1] % b == code.shape[2] % b == 0]
        self.append(SpaceToDepth, input=source, block=self.draw(st.sampled_from(blocks)))

    def _grow_flip2d(self, source, code):
        vertical, horizontal = self.draw(st.booleans()), self.draw(st.booleans())
        self.append(Flip2d, input=source, vertical=vertical, horizontal=horizontal)

    def _grow_slice2d(self, source, code):
        start, stride, size = [], [], []
        for length in code.shape[1:]:
            start.append(self.draw(st.integers(0, length - 1)))
            stride.append(self.draw(st.integers(1, 3)))
            size.append(self.draw(st.integers(1, -(-(length - start[-1]) // stride[-1]))))
        self.append(
            Slice2d, input=source, start=tuple(start), stride=tuple(stride), size=tuple(size)
        )

    def _grow_upsample2d(self, source, code):
        if max(code.shape[1:]) < 20:
            factor = self.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            self.append(Upsample2d, input=source, factor=factor)

    def _grow_bilinear2d(self, source, code):
        if max(code.shape[1:]) < 20:
            factor = self.draw(st.tuples(*2 * [st.sampled_from((1, 2, 4, 8))]))
            self.requantized(self.append(Bilinear2d, input=source, factor=factor, acc_bits=48))

    def _grow_interpolate2d(self, source, code):
        axis = self.draw(st.integers(0, 1))
        size = code.shape[1 + axis]
        taps, outputs = self.draw(st.integers(1, min(4, size))), self.draw(st.integers(1, 9))
        last, number = size - taps, np.arange(outputs)
        first = self.random.integers(0, last + 1, outputs)
        if self.draw(st.booleans()):  # in even steps, as an interpolation takes them
            first = number * self.draw(st.integers(0, 3)) // self.draw(st.integers(1, 3))
            first = (
                np.minimum(first, last) if self.draw(st.booleans()) else last - first % (last + 1)
            )
        kinds = self.random.integers(-512, 513, (self.draw(st.integers(1, 4)), taps))
        self.requantized(
            self.append(
                Interpolate2d,
                input=source,
                axis=axis,
                first=first,
                share=kinds[number % len(kinds)],
                shift=self.draw(st.integers(0, 9)),
                acc_bits=48,
            )
        )

    def _grow_pad2d(self, source, code):
        mode = self.draw(st.sampled_from(("constant", "replicate", "reflect")))
        sizes = 2 * code.shape[1:]
        padding = tuple(
            self.draw(st.integers(0, min(3, size - 1) if mode == "reflect" else 3))
            for size in sizes
        )
        value = self.draw(st.integers(code.low, code.high)) if mode == "constant" else 0
        if code.low <= value <= code.high:
            self.append(Pad2d, input=source, padding=padding, mode=mode, value=value)

    def _regions(self, size: int) -> np.ndarray:
        count = self.draw(st.integers(1, 4))
        first = self.random.integers(0, size, count)
        return np.stack([first, self.random.integers(first + 1, size + 1)], axis=1)

    def _grow_regionmax2d(self, source, code):
        rows, columns = (self._regions(size) for size in code.shape[1:])
        self.append(RegionMax2d, input=source, rows=rows, columns=columns)

    def _grow_regionaverage2d(self, source, code):
        rows, columns = (self._regions(size) for size in code.shape[1:])
        multiplier = self.random.integers(1, 257, (len(rows), len(columns)))
        shift = self.draw(st.integers(0, 16))
        self.requantized(
            self.append(
                RegionAverage2d,
                input=source,
                rows=rows,
                columns=columns,
                multiplier=multiplier,
                shift=shift,
                acc_bits=48,
            )
        )

    def _grow_argmax(self, source, code):
        self.append(ArgMax, input=source)

    def _grow_convtranspose2d(self, source, code):
        channels = code.shape[0]
        divisors = [d for d in range(1, channels + 1) if channels % d == 0]
        groups = self.draw(st.sampled_from(divisors))
        kernel = self.draw(st.tuples(*2 * [st.integers(1, 4)]))
        stride = self.draw(st.tuples(*2 * [st.integers(1, 3)]))
        dilation = self.draw(st.tuples(*2 * [st.integers(1, 2)]))
        before, after, added = [], [], []
        for axis, size in enumerate(code.shape[1:]):
            whole = (size - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
            before.append(self.draw(st.integers(0, min(3, whole - 1))))
            after.append(self.draw(st.integers(0, min(3, whole - 1 - before[-1]))))
            added.append(self.draw(st.integers(0, max(stride[axis], dilation[axis]) - 1)))
            if whole > 24:
                return
        outputs = groups * self.draw(st.integers(1, max(1, 4 // groups)))
        weights = self.weights((outputs, channels // groups, *kernel), code)
        self.requantized(
            self.append(
                ConvTranspose2d,
                input=source,
                groups=groups,
                stride=stride,
                dilation=dilation,
                padding=(*before, *after),
                output_padding=tuple(added),
                **weights,
            )
        )
