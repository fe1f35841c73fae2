"""The interpreter: it runs a graph on codes, exactly, and checks every width.

What it computes is what a graph means.

Codes are int64 at this module's surface. Inside, integers travel in floating point wherever that is
proved exact: :mod:`nbqnn_train.graph.arithmetic` holds the proofs.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from .arithmetic import convolve, exact_dtype, multiply, rescale, weight_matrix, windows
from .bounds import NodeBounds
from .checks import label
from .errors import GraphError
from .nodes import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    TensorType,
)
from .operators import OPERATORS
from .validate import check_graph

__all__ = ["quantize_input", "requantize", "run", "run_codes"]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Types and weights that are computed once per graph.

    dtypes : by name of a node with accumulators, the type that holds them exactly.
    matrices : by name of a Conv2d or Linear, its weights in that type.
    """

    types: dict[str, TensorType]
    bounds: dict[str, NodeBounds]
    dtypes: dict[str, np.dtype]
    matrices: dict[str, np.ndarray]


_plans: WeakKeyDictionary[Graph, _Plan] = WeakKeyDictionary()


def _plan(graph: Graph) -> _Plan:
    plan = _plans.get(graph)
    if plan is None:
        types, bounds = check_graph(graph)
        dtypes = {name: exact_dtype(bound.magnitude) for name, bound in bounds.items()}
        matrices = {
            node.name: weight_matrix(node, dtypes[node.name])
            for node in graph.nodes
            if isinstance(node, (Conv2d, Linear))
        }
        plan = _Plan(types=types, bounds=bounds, dtypes=dtypes, matrices=matrices)
        _plans[graph] = plan
    return plan


def run(
    graph: Graph, x: np.ndarray | Mapping[str, np.ndarray], trace: bool = False
) -> np.ndarray | tuple[np.ndarray, ...] | dict[str, np.ndarray]:
    """Runs ``graph`` on real-valued input.

    x : floating-point array (N, C, H, W) or (N, F) in the network's units. For several inputs it is
        a mapping from the name of each Input to its array.

    Returns the codes of the output, int64 with the batch in front. For several outputs it is a
    tuple in the order of ``graph.outputs``. With ``trace`` it is a dict with the codes of every
    node by name.

    Raises :class:`GraphError` for a graph that is not valid, for input of a wrong shape or with NaN
    or infinity, and if a value leaves its declared width.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"Graph must be a Graph, not {graph!r}")
    arrays = _by_name(graph, x)
    codes = {node.name: quantize_input(node, arrays[node.name]) for node in graph.input_nodes}
    return run_codes(graph, codes, trace)


def run_codes(
    graph: Graph, codes: Mapping[str, np.ndarray], trace: bool = False
) -> np.ndarray | tuple[np.ndarray, ...] | dict[str, np.ndarray]:
    """:func:`run` on integer codes: ``codes`` maps the name of each Input to its codes."""
    plan = _plan(graph)
    codes = _by_name(graph, codes)
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    readers.update(graph.outputs)
    values: dict[str, np.ndarray] = {}
    batch = _batch(graph, codes)
    for node in graph.nodes:
        if isinstance(node, Input):
            value = _checked_codes(node, plan.types[node.name], codes[node.name])
            if value.shape[0] != batch:
                raise GraphError(
                    f"{label(node)}: every input must hold {batch} images, not {value.shape[0]}"
                )
        else:
            operands = [values[source] for source in node.inputs]
            if type(node) in _STEPS:
                value = _STEPS[type(node)](node, plan, *operands)
            else:
                value = _operate(node, plan, batch, operands)
        values[node.name] = value
        if not trace:
            for source in node.inputs:
                readers[source] -= 1
                if not readers[source]:
                    del values[source]
    if trace:
        return {name: value.astype(np.int64) for name, value in values.items()}
    outputs = tuple(values[name].astype(np.int64) for name in graph.outputs)
    return outputs[0] if len(outputs) == 1 else outputs


def quantize_input(node: Input, x: np.ndarray) -> np.ndarray:
    """Codes, int64, of the real input ``x`` in shape ``(N, *shape)``.

    Series (N, C, L) stand for maps of height 1. Rounds to the nearest step, ties as the node says,
    and saturates.
    """
    x = np.asarray(x)
    if x.ndim == 3 and node.shape[1:2] == (1,):
        x = x[:, :, None]
    if x.dtype.kind != "f":
        raise GraphError(f"{label(node)}: images must be float32, not {x.dtype}")
    _check_shape(node, x)
    if not np.isfinite(x).all():
        at = np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape)
        raise GraphError(
            f"{label(node)}: images must be finite, not {x[at]} at {[int(i) for i in at]}"
        )
    code = TensorType(shape=node.shape, bits=node.bits, signed=node.signed, exponent=node.exponent)
    scaled = np.ldexp(x.astype(np.float64), -int(node.exponent))
    # floor(scaled + 0.5) would be wrong just below one half, where the sum is rounded to 1.
    whole = np.floor(scaled)
    part = scaled - whole
    up = {"up": True, "even": whole % 2 == 1, "odd": whole % 2 == 0}[node.ties]
    whole += (part > 0.5) | ((part == 0.5) & up)
    return np.clip(whole, code.low, code.high).astype(np.int64)


def requantize(
    acc: np.ndarray,
    multiplier: np.ndarray | int,
    bias: np.ndarray | int,
    shift: np.ndarray | int,
    low: int,
    high: int,
) -> np.ndarray:
    """``clip((acc * multiplier + bias + half) >> shift, low, high)``, int64; see ``SPEC.md``.

    acc : integers of any shape.
    multiplier, bias, shift : integers, or arrays (C,) that belong to the channels of ``acc``: its
        axis 1, or its only axis.

    Raises :class:`GraphError` if 64 bits could not hold the intermediate sum.
    """
    acc = np.asarray(acc, dtype=np.int64)
    multiplier, bias, shift = (
        _per_channel(np.asarray(values, dtype=np.int64), acc.ndim)
        for values in (multiplier, bias, shift)
    )
    shape = np.broadcast_shapes(acc.shape, multiplier.shape, bias.shape, shift.shape)
    if acc.size == 0:
        return np.zeros(shape, dtype=np.int64)
    if multiplier.min() < 0 or shift.min() < 0 or shift.max() > 62:
        raise GraphError("Requantizer must have multipliers from 0 and shifts in 0..62")
    half = (np.int64(1) << shift) >> 1
    largest = max(-int(acc.min()), int(acc.max())) * int(multiplier.max())
    if largest + max(-int(bias.min()), int(bias.max())) + int(half.max()) >= 1 << 63:
        raise GraphError(
            f"acc * multiplier + bias + half must fit 64 bits; acc is in {acc.min()}..{acc.max()}, "
            f"multiplier at most {multiplier.max()}, bias in {bias.min()}..{bias.max()}"
        )
    codes = np.multiply(acc, multiplier, out=np.empty(shape, dtype=np.int64))
    codes += bias + half
    codes >>= shift
    return np.clip(codes, low, high, out=codes)


def _per_channel(values: np.ndarray, dimensions: int) -> np.ndarray:
    if values.ndim == 0 or dimensions <= 1:
        return values
    return values.reshape(-1, *(1,) * (dimensions - 2))


def _by_name(graph: Graph, given) -> dict[str, np.ndarray]:
    """Arrays by the name of their Input. A bare array is for the only Input."""
    names = [node.name for node in graph.input_nodes]
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise GraphError(f"Graph has the inputs {names}; images must be given by name")
        return {names[0]: _array(names[0], given)}
    if set(given) != set(names):
        raise GraphError(f"Images must be given for the inputs {names}, not for {list(given)}")
    return {name: _array(name, given[name]) for name in names}


def _array(name: str, given) -> np.ndarray:
    try:
        return np.asarray(given)
    except Exception as error:  # what other packages and ragged lists raise
        line = str(error).splitlines()[0]
        raise GraphError(f"Images for input {name!r} must be an array: {line}") from None


def _batch(graph: Graph, codes: Mapping[str, np.ndarray]) -> int:
    """Number of images of the first input that has a batch. Other inputs are checked against it."""
    return next((len(codes[node.name]) for node in graph.input_nodes if codes[node.name].ndim), 0)


def _operate(node: Node, plan: _Plan, batch: int, operands: list[np.ndarray]) -> np.ndarray:
    """The codes of an operator of :mod:`nbqnn_train.graph.operators`."""
    source = plan.types[node.inputs[0]] if node.inputs else None
    dtype = plan.dtypes[node.name]
    value = OPERATORS[type(node)].step(node, source, dtype, batch, *operands)
    return _accumulators(node, plan, value) if plan.types[node.name].is_accumulator else value


def _check_shape(node: Input, x: np.ndarray) -> None:
    if x.ndim != len(node.shape) + 1 or x.shape[1:] != tuple(node.shape):
        expected = ", ".join(str(size) for size in ("N", *node.shape))
        raise GraphError(f"{label(node)}: images of shape {x.shape}; expected ({expected})")


def _checked_codes(node: Input, code: TensorType, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise GraphError(f"{label(node)}: codes must be integers, not {values.dtype}")
    _check_shape(node, values)
    _check_width(node, code, values)
    return values.astype(np.float32)


def _check_width(node: Node, code: TensorType, values: np.ndarray) -> None:
    if not values.size:
        return
    least, most = int(values.min()), int(values.max())
    if least < code.low or most > code.high:
        raise GraphError(
            f"{label(node)}: values reach {least}..{most}; {code.bits} bits hold "
            f"{code.low}..{code.high}"
        )


def _accumulators(node: Node, plan: _Plan, acc: np.ndarray) -> np.ndarray:
    """Returns ``acc`` after a check of its width. Activations need none: no node can widen them."""
    _check_width(node, plan.types[node.name], acc)
    return acc


def _conv(node: Conv2d, plan: _Plan, x: np.ndarray) -> np.ndarray:
    return _accumulators(node, plan, convolve(node, plan.matrices[node.name], x))


def _linear(node: Linear, plan: _Plan, x: np.ndarray) -> np.ndarray:
    return _accumulators(node, plan, multiply(plan.matrices[node.name], x))


def _reduced(combine: np.ufunc, view: np.ndarray) -> np.ndarray:
    """``view`` (N, C, KH, KW, OH, OW) combined over its kernel: tap by tap, in long loops."""
    result = view[:, :, 0, 0].copy()
    for row, column in list(np.ndindex(view.shape[2:4]))[1:]:
        combine(result, view[:, :, row, column], out=result)
    return result


def _max_pool(node: MaxPool2d, plan: _Plan, x: np.ndarray) -> np.ndarray:
    fill = plan.types[node.input].low
    return _reduced(np.maximum, windows(x, node.kernel, node.stride, node.padding, fill=fill))


def _avg_pool(node: AvgPool2d, plan: _Plan, x: np.ndarray) -> np.ndarray:
    x = x.astype(plan.dtypes[node.name], copy=False)
    total = _reduced(np.add, windows(x, node.kernel, node.stride, node.padding))
    return _accumulators(node, plan, total * total.dtype.type(node.multiplier))


def _add(node: Add, plan: _Plan, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    dtype = plan.dtypes[node.name]
    a, b = (
        x.astype(dtype, copy=False) * dtype.type(1 << int(shift))
        for x, shift in zip((a, b), node.shifts, strict=True)
    )
    return _accumulators(node, plan, np.add(a, b, out=a))


def _concat(node: Concat, plan: _Plan, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=1)


def _flatten(node: Flatten, plan: _Plan, x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _clip(node: Clip, plan: _Plan, x: np.ndarray) -> np.ndarray:
    return np.clip(x, node.low, node.high)


def _requantize(node: Requantize, plan: _Plan, x: np.ndarray) -> np.ndarray:
    return rescale(node, plan.bounds[node.name].wide, x).reshape(x.shape)


_STEPS = {
    Conv2d: _conv,
    Linear: _linear,
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    Add: _add,
    Concat: _concat,
    Flatten: _flatten,
    Clip: _clip,
    Requantize: _requantize,
}
