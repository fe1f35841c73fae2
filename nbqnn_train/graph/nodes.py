"""The nodes of the integer graph: what a quantized network computes, to the bit.

A graph is a tuple of nodes in topological order. Every node has a unique ``name``, which is also
the name of the one tensor that it produces. Tensors hold integer *codes*; the real value of a code
is ``code * 2**exponent``. Shapes leave the batch out: ``(C, H, W)`` for feature maps, ``(F,)`` for
vectors.

There are two kinds of tensors. *Activations* are what memories hold: ``bits`` wide (2...16), signed
or unsigned, with one exponent for the whole tensor. *Accumulators* are exact sums: signed,
``acc_bits`` wide, with one exponent per channel. Convolution, linear, average pooling and add
produce accumulators; a :class:`Requantize` turns accumulators (or activations) into activations.
Everything else maps activations to activations.

``SPEC.md`` beside this file states the arithmetic; :mod:`nbqnn_train.graph.interpreter` executes
it.
"""

from dataclasses import dataclass, fields

import numpy as np

from .errors import GraphError

__all__ = [
    "Add",
    "AvgPool2d",
    "Clip",
    "Concat",
    "Conv2d",
    "Flatten",
    "Graph",
    "Input",
    "Linear",
    "MaxPool2d",
    "Node",
    "Requantize",
    "TensorType",
    "Unary",
]


def _frozen(values, what: str) -> np.ndarray:
    """A private, read-only int64 copy, so that a graph cannot change after it was validated."""
    array = np.asarray(values)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
        raise GraphError(f"{what}{[int(i) for i in at]} must be an integer, not {array[at]}")
    # Only what int64 holds without loss. An empty list has no dtype of its own and is allowed.
    if (array.size and not np.can_cast(array.dtype, np.int64)) or array.dtype.kind == "b":
        raise GraphError(f"{what} must hold integers of at most 64 bits, not {array.dtype}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, kw_only=True)
class TensorType:
    """Shape and number format of one tensor.

    ``exponent`` is one integer for activations and a tuple of C (or F) integers for accumulators.
    """

    shape: tuple[int, ...]
    bits: int
    signed: bool
    exponent: int | tuple[int, ...]

    @property
    def low(self) -> int:
        """Smallest code the format holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code the format holds."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def is_accumulator(self) -> bool:
        return isinstance(self.exponent, tuple)


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """Base of all nodes. Array fields are int64 and read-only; equality compares every field."""

    name: str

    def __post_init__(self):
        for field in fields(self):
            if field.type is np.ndarray:
                what = f"{type(self).__name__} {self.name!r}: {field.name}"
                object.__setattr__(self, field.name, _frozen(getattr(self, field.name), what))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that this node reads, in order."""
        raise NotImplementedError

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        )

    def __hash__(self):
        return hash((type(self), self.name))


@dataclass(frozen=True, kw_only=True, eq=False)
class Unary(Node):
    """A node that reads one tensor."""

    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Input(Node):
    """``code = clip(floor(x * 2**-exponent + 1/2))`` of real input x, to the format's range.

    ties : how a value half-way between two codes is rounded: "up", or to the "even" or the "odd"
        code, as in models of other tools.
    """

    shape: tuple[int, ...]
    bits: int
    signed: bool
    exponent: int
    ties: str = "up"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Unary):
    """Two-dimensional cross-correlation, zero padded; no bias (it lives in the requantizer).

    ``acc[o, y, x]`` is the sum over i, j, k of ``weight[o, i, j, k]`` times
    ``in[first + i, y*stride - top + j*dilation, x*stride - left + k*dilation]``. ``first`` is the
    first input channel of o's group.

    weight : (Cout, Cin / groups, KH, KW), each 0 or a signed power of two with
        ``|w| <= 2**(2**(weight_bits - 1) - 2)``.
    weight_exponent : (Cout,), the power-of-two step of each output channel's weights.
    stride, dilation : (vertical, horizontal), at least 1.
    padding : (top, left, bottom, right), at least 0.
    acc_bits : width of the signed accumulator; no partial sum in any order may leave it.
    """

    weight: np.ndarray
    weight_bits: int
    weight_exponent: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    acc_bits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Unary):
    """``acc[o] = sum over i of weight[o, i] * in[i]``; weights as in Conv2d, shape (Fout, Fin)."""

    weight: np.ndarray
    weight_bits: int
    weight_exponent: np.ndarray
    acc_bits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2d(Unary):
    """Largest code in each window. Padding never wins: padded positions do not take part.

    Padding is (top, left, bottom, right), each smaller than the kernel in its direction. Every
    window must hold at least one real position.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d(Unary):
    """``acc = multiplier * (sum of the window)``; padded positions count as code 0.

    ``multiplier / 2**shift`` stands for one over the window's size: the accumulator's exponent is
    the input's minus ``shift``. The multiplier is positive and at most 2**8. A window of 2**n
    positions has multiplier 1, shift n and is exact. The kernel of global pooling is the whole map.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    multiplier: int
    shift: int
    acc_bits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Node):
    """``acc = (a << shifts[0]) + (b << shifts[1])`` of two activations of equal shape.

    ``a.exponent - shifts[0] == b.exponent - shifts[1]`` is the accumulator's exponent.
    """

    operands: tuple[str, str]
    shifts: tuple[int, int]
    acc_bits: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.operands


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Node):
    """Activations joined along channels. All have one format; others are requantized before."""

    operands: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.operands


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Unary):
    """``(C, H, W)`` to ``(C*H*W,)`` in row-major order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip(Unary):
    """``min(max(code, low), high)`` in the input's format, which must hold ``low`` and ``high``."""

    low: int
    high: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantize(Unary):
    """``code = clip((acc * multiplier + bias + half) >> shift, low, high)``, per channel.

    ``half`` is ``2**(shift - 1)`` for a positive shift and 0 for shift 0, so ties round towards
    plus infinity; ``>>`` is the arithmetic shift (floor). ``low`` and ``high`` lie in the range of
    the output format; ReLU is ``low = 0``.

    multiplier : (C,), 1 ... 2**16 - 1. In *shift mode* each is a power of two of at most 16.
    bias : (C,), signed, in units of ``acc * multiplier``.
    shift : (C,), 0 ... 47.
    """

    multiplier: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    bits: int
    signed: bool
    exponent: int
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes in topological order and the names of the activations that are the outputs.

    ``final`` has an entry of :data:`nbqnn_train.graph.limits.FINAL` for each output: what the
    exported network applies after it. The graph does not compute it; who shows results does. It is
    empty where nothing is applied.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    final: tuple[str, ...] = ()

    @property
    def input_nodes(self) -> tuple[Input, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Input))

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
