"""SPEC.md once more, in Python loops over Python integers: what the interpreter is compared with.

Written for clarity alone. Nothing is shared with the interpreter but the nodes.
"""

from fractions import Fraction
from itertools import product
from math import floor

import numpy as np

from nbqnn_train.graph import (
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
    Requantize,
    Table,
    tensor_types,
)
from tests.graph.operator_reference import reference_operator, reference_table

__all__ = ["reference_codes", "reference_input", "reference_trace"]


def reference_input(node: Input, x: np.ndarray) -> np.ndarray:
    """Codes of one image (no batch) with exact fractions."""
    low, high = (
        (-(1 << node.bits - 1), (1 << node.bits - 1) - 1)
        if node.signed
        else (0, (1 << node.bits) - 1)
    )

    def nearest(steps: Fraction) -> int:
        if node.ties == "even":
            return round(steps)
        if node.ties == "odd":
            return round(steps + 1) - 1
        return floor(steps + Fraction(1, 2))

    codes = [
        min(max(nearest(Fraction(float(v)) / Fraction(2) ** node.exponent), low), high)
        for v in x.ravel()
    ]
    return np.array(codes, dtype=object).reshape(x.shape)


def reference_trace(graph: Graph, codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Codes of every node for one image, as object arrays without a batch."""
    values, types = {}, tensor_types(graph)
    for node in graph.nodes:
        if isinstance(node, Input):
            values[node.name] = np.array(codes[node.name], dtype=object)
        elif isinstance(node, Table):
            code = types[node.input]
            values[node.name] = reference_table(node, code.low, code.bits, values[node.input])
        else:
            values[node.name] = reference_codes(node, *(values[name] for name in node.inputs))
    return values


def _positions(size, kernel, stride, before, after, dilation):
    """For each output position the list of input positions, None in the padding."""
    outputs, start = [], -before
    while start + dilation * (kernel - 1) < size + after:
        taps = [start + tap * dilation for tap in range(kernel)]
        outputs.append([tap if 0 <= tap < size else None for tap in taps])
        start += stride
    return outputs


def _grid(node, shape, kernel, dilation):
    top, left, bottom, right = node.padding
    rows = _positions(shape[1], kernel[0], node.stride[0], top, bottom, dilation[0])
    columns = _positions(shape[2], kernel[1], node.stride[1], left, right, dilation[1])
    return rows, columns


def _window(x, channel, rows, columns):
    """The codes of a window, None in the padding, row by row."""
    return [None if r is None or c is None else x[channel, r, c] for r in rows for c in columns]


def _pool(node, x, reduce):
    rows, columns = _grid(node, x.shape, node.kernel, (1, 1))
    out = np.empty((x.shape[0], len(rows), len(columns)), dtype=object)
    for c, y, z in product(*map(range, out.shape)):
        out[c, y, z] = reduce(_window(x, c, rows[y], columns[z]))
    return out


def reference_codes(node, *operands):
    """What ``node`` makes of its operands."""
    x = operands[0] if operands else None
    match node:
        case Conv2d():
            rows, columns = _grid(node, x.shape, node.weight.shape[2:], node.dilation)
            outputs, inputs = node.weight.shape[:2]
            out = np.empty((outputs, len(rows), len(columns)), dtype=object)
            for o, y, z in product(*map(range, out.shape)):
                first = o // (outputs // node.groups) * inputs
                out[o, y, z] = sum(
                    int(w) * code
                    for i in range(inputs)
                    for w, code in zip(
                        node.weight[o, i].ravel(),
                        _window(x, first + i, rows[y], columns[z]),
                        strict=True,
                    )
                    if code is not None
                )
            return out
        case Linear():
            sums = [
                sum(int(w) * code for w, code in zip(row, x, strict=True)) for row in node.weight
            ]
            return np.array(sums, dtype=object)
        case MaxPool2d():
            return _pool(node, x, lambda window: max(code for code in window if code is not None))
        case AvgPool2d():
            return _pool(
                node, x, lambda window: node.multiplier * sum(code or 0 for code in window)
            )
        case Add():
            return x * 2 ** node.shifts[0] + operands[1] * 2 ** node.shifts[1]
        case Concat():
            return np.array([row for operand in operands for row in operand], dtype=object)
        case Flatten():
            return np.array([x[c, y, z] for c, y, z in product(*map(range, x.shape))], dtype=object)
        case Clip():
            return np.array([min(max(v, node.low), node.high) for v in x.ravel()]).reshape(x.shape)
        case Requantize():
            out = np.empty(x.shape, dtype=object)
            for at in product(*map(range, x.shape)):
                multiplier, bias, shift = (
                    int(values[at[0]]) for values in (node.multiplier, node.bias, node.shift)
                )
                value = Fraction(x[at] * multiplier + bias, 2**shift)
                # For shift 0 there is nothing to round, and floor(value + 1/2) is value.
                out[at] = min(max(floor(value + Fraction(1, 2)), node.low), node.high)
            return out
    return reference_operator(node, *operands)
