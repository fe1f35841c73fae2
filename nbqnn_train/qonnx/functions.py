"""Functions of one element. With the quantizer behind them they become tables."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np

from nbqnn_train.graph.errors import GraphError

from .building import settled
from .lines import Chain
from .model import Operator
from .reader import Reader
from .values import Leaf, Value

__all__ = ["FUNCTIONS", "looked_up", "sigmoid"]

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class _Parameters:
    """Numbers of an operator by name, with their defaults."""

    reader: Reader
    op: Operator

    def __call__(self, name: str, default: float) -> float:
        return float(np.float32(self.op.number(name, default)))


def _logistic(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def _softplus(x):
    return np.logaddexp(0, x)


def _gelu(x, approximate: str):
    if approximate == "TANH":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _elu(x, alpha):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _celu(x, alpha):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / alpha), x)


def _hard_sigmoid(x, alpha, beta):
    return np.clip(alpha * x + beta, 0, 1)


def _selu(p: _Parameters) -> Callable:
    alpha, gamma = p("alpha", 1.67326319217681884765625), p("gamma", 1.05070102214813232421875)
    return lambda x: gamma * _elu(x, alpha)


def _prelu(p: _Parameters) -> Callable:
    slope = p.reader.constant(p.op, 1)
    if slope.size != 1:
        raise GraphError(f"{p.op.what}: must have one slope for all channels, not {slope.size}")
    return lambda x: np.where(x < 0, float(slope.reshape(-1)[0]) * x, x)


def _power(p: _Parameters) -> Callable:
    exponent = p.reader.constant(p.op, 1)
    if exponent.size != 1:
        raise GraphError(f"{p.op.what}: exponent must be one number, not {exponent.size}")
    return lambda x: np.power(x, float(exponent.reshape(-1)[0]))


def _leaky(x, alpha):
    return np.where(x < 0, alpha * x, x)


def _with(function: Callable, **numbers: float) -> Callable[[_Parameters], Callable]:
    """``function`` with the numbers of an operator, by name; missing ones have these defaults."""

    def function_of(p: _Parameters) -> Callable:
        return partial(function, **{name: p(name, number) for name, number in numbers.items()})

    return function_of


#: Operator -> its function, given its numbers.
_FORMULAS: dict[str, Callable[[_Parameters], Callable]] = {
    "Abs": _with(np.abs),
    "Celu": _with(_celu, alpha=1.0),
    "Elu": _with(_elu, alpha=1.0),
    "Erf": _with(_erf),
    "Exp": _with(np.exp),
    "Gelu": lambda p: partial(_gelu, approximate=p.op.text("approximate", "none")),
    "HardSigmoid": _with(_hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": _with(lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5)),
    "LeakyRelu": _with(_leaky, alpha=0.01),
    "Mish": _with(lambda x: x * np.tanh(_softplus(x))),
    "PRelu": _prelu,
    "Pow": _power,
    "Selu": _selu,
    "Softplus": _with(_softplus),
    "Softsign": _with(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _with(np.sqrt),
    "Tanh": _with(np.tanh),
}


def _applied(reader: Reader, op: Operator, number: int, function: Callable) -> Value:
    leaf = settled(reader, op.what, reader.varying(op, number), op.inputs[number])
    line = leaf.chain.line
    if len(line.scale) != 1 or len(line.offset) != 1:
        raise GraphError(f"{op.what}: input must have one scale for all channels")

    def of_code(code: int) -> Fraction:
        number = float(line.scale[0] * code + line.offset[0])
        with np.errstate(all="ignore"):
            result = np.float32(function(np.array(number)))
        if not np.isfinite(result):
            raise GraphError(
                f"{op.what}: must be finite for every code of its input, not {result} at {number:g}"
            )
        return Fraction(float(result))

    return Leaf(leaf.source, leaf.shape, Chain(function=of_code))


def _handler(formula: Callable[[_Parameters], Callable]) -> Callable[[Reader, Operator], Value]:
    def handle(reader: Reader, op: Operator) -> Value:
        return _applied(reader, op, 0, formula(_Parameters(reader, op)))

    return handle


def sigmoid(reader: Reader, op: Operator) -> Value:
    """A sigmoid within the network."""
    return _applied(reader, op, 0, _logistic)


def looked_up(reader: Reader, op: Operator) -> Value:
    """Entries of a constant vector, chosen by the codes of an activation."""
    entries = reader.constant(op, 0).astype(np.float64)

    def chosen(places: np.ndarray) -> np.ndarray:
        places = np.floor(places).astype(np.int64)
        inside = (places >= -entries.size) & (places < entries.size)
        return np.where(inside, entries[np.where(inside, places, 0)], 0.0)

    return _applied(reader, op, 1, chosen)


#: Kind of operator -> its reading function.
FUNCTIONS = {kind: _handler(formula) for kind, formula in _FORMULAS.items()}
