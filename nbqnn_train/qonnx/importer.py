"""From QONNX to the integer graph.

Takes networks whose weights are zero or powers of two on a common step (per tensor or per output
channel), whose activations are quantized on power-of-two steps, and whose other operators are
affine per channel: biases, batch norm, scales. Real arithmetic is what is imported: where the
model's own float32 evaluation rounds, it can differ.
"""

import os
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np

from nbqnn_train.graph.bounds import narrowed
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import node_type
from nbqnn_train.graph.limits import ACC_BITS, ACT_BITS, AVG_MULTIPLIER, EXPONENT
from nbqnn_train.graph.nodes import (
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
from nbqnn_train.graph.validate import validate

from .affine import Affine, integer_rule
from .model import Operator, read_model
from .weights import power_of_two, weight_codes

__all__ = ["import_qonnx"]

_NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP")


def import_qonnx(path: str | os.PathLike, *, exact: bool = True) -> Graph:
    """The graph that computes what the QONNX model in ``path`` does.

    An Input has the name of the model's input; other tensors have the model's names.

    exact : refuse what the graph can only approximate: quantizers with ties that go to even (the
        graph rounds them up) and scales that take more than 16 bits. With False, ties go up and
        scales are rounded to 16 bits.

    Raises :class:`GraphError` naming the operator and, for weights, the first one that does not
    fit.
    """
    model = read_model(path)
    reader = _Reader(model, exact)
    for operator in model.operators:
        reader.read(operator)
    return reader.graph()


def _fractions(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in np.asarray(values).reshape(-1)]


class _Reader:
    """Walks over the operators; ``values`` holds what each tensor of the model is.

    A tensor is a constant, an :class:`Affine`, or the name (str) of an activation of the graph.
    """

    def __init__(self, model, exact: bool):
        self.model = model
        self.exact = exact
        self.nodes: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        self.values: dict[str, object] = dict(model.constants)
        # Steps (per output channel) of weights that a Quant has quantized.
        self.steps: dict[str, np.ndarray] = {}
        self.requantized: set[str] = set()
        for name, shape in model.inputs.items():
            ones = (Fraction(1),) * shape[0]
            self.values[name] = Affine(name, ones, (Fraction(0),) * shape[0], real=True)

    def graph(self) -> Graph:
        outputs = []
        for name in self.model.outputs:
            value = self.values.get(name)
            if not isinstance(value, str):
                raise GraphError(f"Output {name!r} must be the result of a Quant")
            outputs.append(value)
        needed = set(outputs)
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        nodes = tuple(node for node in self.nodes.values() if node.name in needed)
        graph = narrowed(Graph(nodes=nodes, outputs=tuple(dict.fromkeys(outputs))))
        validate(graph)
        return graph

    def put(self, node: Node) -> str:
        """Adds ``node``, checks it and returns its name."""
        if node.name in self.nodes:
            raise GraphError(f"{type(node).__name__} {node.name!r}: the name is taken")
        self.types[node.name] = node_type(node, *(self.types[name] for name in node.inputs))
        self.nodes[node.name] = node
        return node.name

    def read(self, op: Operator) -> None:
        """Takes one operator in."""
        handler = getattr(self, f"_{op.kind.lower()}", None)
        if handler is None:
            raise GraphError(f"{op.what}: this operator is not supported")
        self.values[op.outputs[0]] = handler(op)

    def value(self, op: Operator, number: int):
        name = op.inputs[number] if number < len(op.inputs) else ""
        if name not in self.values:
            raise GraphError(f"{op.what}: input {number} ({name!r}) is missing")
        return self.values[name]

    def constant(self, op: Operator, number: int) -> np.ndarray:
        value = self.value(op, number)
        if not isinstance(value, np.ndarray):
            raise GraphError(f"{op.what}: input {number} must be constant")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise GraphError(f"{op.what}: input {number} must be finite")
        return value

    def activation(self, op: Operator, number: int = 0) -> str:
        value = self.value(op, number)
        if not isinstance(value, str):
            raise GraphError(f"{op.what}: input {number} must be the result of a Quant")
        return value

    def affine(self, op: Operator, number: int = 0) -> Affine:
        """Input ``number`` as real values of a tensor of the graph."""
        value = self.value(op, number)
        return value if isinstance(value, Affine) else self.reals(value)

    def reals(self, name: str) -> Affine:
        code = self.types[name]
        channels = code.shape[0]
        exponent = code.exponent if code.is_accumulator else (code.exponent,) * channels
        scale = tuple(Fraction(2) ** e for e in exponent)
        return Affine(name, scale, (Fraction(0),) * channels)

    def per_channel(self, op: Operator, values: np.ndarray, channels: int) -> list[Fraction]:
        """A constant operand that is one number, or one for each channel."""
        fractions = _fractions(values)
        if len(fractions) == 1:
            return fractions * channels
        rank = 1 + len(self.shape(op))
        shape = (1,) * (rank - values.ndim) + values.shape
        if shape != (1, channels, *(1,) * (rank - 2)):
            raise GraphError(
                f"{op.what}: constant of shape {values.shape} must hold one number per channel"
            )
        return fractions

    def shape(self, op: Operator) -> tuple[int, ...]:
        """Shape of the operand that is not constant."""
        for name in op.inputs:
            value = self.values.get(name)
            if isinstance(value, str):
                return self.types[value].shape
            if isinstance(value, Affine):
                source = value.source
                return self.model.inputs[source] if value.real else self.types[source].shape
        raise GraphError(f"{op.what}: must have an operand that is not constant")

    # Quantizers

    def _quant(self, op: Operator):
        scale, zero, bits = (self.constant(op, number) for number in (1, 2, 3))
        if np.any(zero != 0):
            raise GraphError(f"{op.what}: zero point must be 0, not {float(zero.reshape(-1)[0])}")
        if bits.size != 1 or float(bits.reshape(-1)[0]) != int(bits.reshape(-1)[0]):
            raise GraphError(f"{op.what}: bit width must be one integer")
        bits = int(bits.reshape(-1)[0])
        if not 1 <= bits <= 32:
            raise GraphError(f"{op.what}: bit width must be in 1..32, not {bits}")
        if np.any(scale <= 0):
            raise GraphError(f"{op.what}: scale must be positive")
        signed, narrow = bool(op.attributes.get("signed", 1)), bool(op.attributes.get("narrow", 1))
        low = -(1 << bits - 1) + narrow if signed else 0
        high = (1 << bits - int(signed)) - 1 - (narrow and not signed)
        mode = op.attributes.get("rounding_mode", b"ROUND").decode("ascii", "replace").upper()
        value = self.value(op, 0)
        if isinstance(value, np.ndarray):
            return self._quantized_constant(op, scale, low, high, mode)
        if not ACT_BITS[0] <= bits <= ACT_BITS[1]:
            raise GraphError(
                f"{op.what}: activations must have {ACT_BITS[0]}..{ACT_BITS[1]} bits, not {bits}"
            )
        step = Fraction(float(scale.reshape(-1)[0]))
        exponent = power_of_two(step)
        if scale.size != 1 or exponent is None or not EXPONENT[0] <= exponent <= EXPONENT[1]:
            raise GraphError(
                f"{op.what}: scale of an activation must be one power of two, not {float(step)}"
            )
        form = {"bits": bits, "signed": signed, "exponent": exponent}
        affine = self.affine(op)
        if affine.real:
            return self._quantized_input(op, affine, mode, form, low, high)
        return self._requantized(op, affine, mode, form, low, high)

    def _quantized_constant(self, op, scale, low, high, mode) -> np.ndarray:
        real = self.constant(op, 0).astype(np.float64)
        steps = real / scale.astype(np.float64)
        rounding = {
            "ROUND": np.round,
            "HALF_EVEN": np.round,
            "FLOOR": np.floor,
            "CEIL": np.ceil,
            "DOWN": np.trunc,
            "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
        }
        if mode not in rounding:
            raise GraphError(f"{op.what}: rounding mode {mode!r} is not supported")
        self.steps[op.outputs[0]] = scale.astype(np.float64)
        return rounding[mode](np.clip(steps, low, high)) * scale.astype(np.float64)

    def _rounded(self, op, affine: Affine, mode: str, form: dict) -> tuple[Affine, bool]:
        """The affine map in output steps, and whether it is rounded to the nearest integer."""
        step = Fraction(2) ** form["exponent"]
        if affine.floored is not None:
            if affine.floored != step:
                raise GraphError(
                    f"{op.what}: scale {float(step)} must be the {float(affine.floored)} that "
                    "follows the Floor"
                )
            return affine, False
        steps = replace(
            affine,
            scale=tuple(v / step for v in affine.scale),
            offset=tuple(v / step for v in affine.offset),
        )
        if mode not in (*_NEAREST, "FLOOR"):
            raise GraphError(f"{op.what}: rounding mode {mode!r} is not supported")
        return steps, mode in _NEAREST

    def _quantized_input(self, op, affine: Affine, mode: str, form: dict, low, high) -> str:
        name = affine.source
        affine, nearest = self._rounded(op, affine, mode, form)
        wanted = Fraction(0) if nearest else Fraction(1, 2)
        exact_mode = not nearest or (mode == "HALF_UP" and not form["signed"])
        if self.exact and not exact_mode:
            raise GraphError(
                f"{op.what}: ties of the input go to even or away from zero in the model and up in "
                "the graph; import with exact=False to accept that"
            )
        scales = {s * Fraction(2) ** form["exponent"] for s in affine.scale}
        if scales != {Fraction(1)} or set(affine.offset) != {wanted}:
            raise GraphError(
                f"{op.what}: input {name!r} must be quantized as it is, to the nearest step"
            )
        node = Input(name=name, shape=self.model.inputs[name], **form)
        if name not in self.nodes:
            self.put(node)
        elif self.nodes[name] != node:
            raise GraphError(f"{op.what}: input {name!r} must be quantized in one way only")
        return self._limited(op, name, affine, low, high)

    def _limited(self, op, name: str, affine: Affine, low: int, high: int) -> str:
        """A Clip after ``name`` where its limits are tighter than the format."""
        low, high = _limits(affine, low, high)
        code = self.types[name]
        if (low, high) == (code.low, code.high):
            return name
        return self.put(Clip(name=op.outputs[0], input=name, low=low, high=high))

    def _requantized(self, op, affine: Affine, mode: str, form: dict, low, high) -> str:
        affine, nearest = self._rounded(op, affine, mode, form)
        low, high = _limits(affine, low, high)
        scale = self._positive(op, affine)
        # Within the graph, codes stand for scale; reals() has put the step into it.
        multiplier, bias, shift = integer_rule(
            op.what, scale, list(affine.offset), nearest, self.exact
        )
        self.requantized.add(affine.source)
        return self.put(
            Requantize(
                name=op.outputs[0],
                input=affine.source,
                multiplier=multiplier,
                bias=bias,
                shift=shift,
                low=low,
                high=high,
                **form,
            )
        )

    def _positive(self, op, affine: Affine) -> list[Fraction]:
        """Scales made positive: their signs, and zeros, go into the weights of the layer before."""
        if min(affine.scale) > 0:
            return list(affine.scale)
        node = self.nodes[affine.source]
        if not isinstance(node, (Conv2d, Linear)) or node.name in self.requantized:
            channel = next(i for i, s in enumerate(affine.scale) if s <= 0)
            raise GraphError(
                f"{op.what}: scale of channel {channel} must be positive, "
                f"not {float(affine.scale[channel])}"
            )
        sign = np.array([(s > 0) - (s < 0) for s in affine.scale])
        weight = node.weight * sign.reshape(-1, *(1,) * (node.weight.ndim - 1))
        self.nodes[node.name] = replace(node, weight=weight)
        return [abs(s) if s else Fraction(1) for s in affine.scale]

    # Sums of products

    def _weights(self, op: Operator, axis: int) -> tuple[np.ndarray, np.ndarray, int, list]:
        """Codes, exponents and bits of constant 1, output channels first, and a factor for each."""
        real = np.moveaxis(self.constant(op, 1).astype(np.float64), axis, 0)
        step = self.steps.get(op.inputs[1], np.float64(1))
        step = np.broadcast_to(step, self.constant(op, 1).shape)
        step = np.moveaxis(step, axis, 0).reshape(len(real), -1)
        if (step != step[:, :1]).any():
            raise GraphError(f"{op.what}: weights of one output channel must have one step")
        # A step may be any number: what is no power of two of it goes into the requantizer.
        column = step[:, 0].reshape(-1, *(1,) * (real.ndim - 1))
        codes = np.round(real / column) if op.inputs[1] in self.steps else real
        weight, exponent, bits = weight_codes(op.what, codes)
        mantissa, power = np.frexp(step[:, 0])
        factor = [Fraction(float(m)) * 2 for m in mantissa]
        return weight, exponent + power - 1, bits, factor

    def _weighted(self, op: Operator, node: Node, factor: list, bias: list) -> Affine:
        name = self.put(node)
        result = self.reals(name).times(op.what, factor)
        return result.plus(op.what, bias)

    def _conv(self, op: Operator) -> Affine:
        source = self.activation(op)
        if op.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
            raise GraphError(f"{op.what}: auto_pad must be NOTSET")
        if self.constant(op, 1).ndim != 4:
            raise GraphError(f"{op.what}: must be two-dimensional")
        geometry = {
            "stride": tuple(op.attributes.get("strides", (1, 1))),
            "padding": tuple(op.attributes.get("pads", (0, 0, 0, 0))),
        }
        dilation = tuple(op.attributes.get("dilations", (1, 1)))
        groups = op.attributes.get("group", 1)
        average = self._average(op, source, groups)
        if average is not None and dilation == (1, 1):
            kernel = self.constant(op, 1).shape[2:]
            node = AvgPool2d(
                name=op.outputs[0],
                input=source,
                kernel=kernel,
                acc_bits=ACC_BITS[1],
                **average,
                **geometry,
            )
            return self.reals(self.put(node))
        weight, exponent, bits, factor = self._weights(op, 0)
        node = Conv2d(
            name=op.outputs[0],
            input=source,
            weight=weight,
            weight_bits=bits,
            weight_exponent=exponent,
            dilation=dilation,
            groups=groups,
            acc_bits=ACC_BITS[1],
            **geometry,
        )
        return self._weighted(op, node, factor, self._bias(op, len(weight)))

    def _average(self, op: Operator, source: str, groups: int) -> dict | None:
        """Multiplier and shift where the convolution is an average that no power of two holds."""
        weight = self.constant(op, 1)
        value = Fraction(float(weight.reshape(-1)[0]))
        depthwise = groups == weight.shape[0] == self.types[source].shape[0]
        same = (weight == weight.reshape(-1)[0]).all() and len(op.inputs) == 2
        if not depthwise or not same or value <= 0 or power_of_two(value) is not None:
            return None
        shift = value.denominator.bit_length() - 1
        if value.numerator > AVG_MULTIPLIER[1] or value.denominator != 1 << shift:
            return None
        return {"multiplier": value.numerator, "shift": shift}

    def _bias(self, op: Operator, channels: int) -> list[Fraction]:
        if len(op.inputs) < 3 or not op.inputs[2]:
            return [Fraction(0)] * channels
        bias = self.constant(op, 2)
        if bias.size not in (1, channels):
            raise GraphError(f"{op.what}: bias must have {channels} entries, not {bias.size}")
        return _fractions(np.broadcast_to(bias.reshape(-1), channels))

    def _linear(self, op: Operator, axis: int) -> Affine:
        source = self.activation(op)
        if self.constant(op, 1).ndim != 2:
            raise GraphError(f"{op.what}: weights must have two dimensions")
        weight, exponent, bits, factor = self._weights(op, axis)
        node = Linear(
            name=op.outputs[0],
            input=source,
            weight=weight,
            weight_bits=bits,
            weight_exponent=exponent,
            acc_bits=ACC_BITS[1],
        )
        return self._weighted(op, node, factor, self._bias(op, len(weight)))

    def _gemm(self, op: Operator) -> Affine:
        for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
            if op.attributes.get(name, wanted) != wanted:
                raise GraphError(f"{op.what}: {name} must be {wanted}")
        return self._linear(op, 0 if op.attributes.get("transB", 0) else 1)

    def _matmul(self, op: Operator) -> Affine:
        return self._linear(op, 1)

    # Affine operators

    def _operands(self, op: Operator) -> tuple[Affine, list[Fraction], bool]:
        """The operand that varies, the constant one per channel, whether that comes first."""
        if not any(isinstance(self.value(op, number), np.ndarray) for number in (0, 1)):
            raise GraphError(
                f"{op.what}: both operands must be results of a Quant, or one must be constant"
            )
        first = isinstance(self.value(op, 0), np.ndarray)
        affine = self.affine(op, int(first))
        constant = self.constant(op, int(not first))
        return affine, self.per_channel(op, constant, len(affine.scale)), first

    def _add(self, op: Operator):
        if all(isinstance(self.value(op, number), str) for number in (0, 1)):
            a, b = self.activation(op, 0), self.activation(op, 1)
            exponents = self.types[a].exponent, self.types[b].exponent
            shifts = tuple(e - min(exponents) for e in exponents)
            node = Add(name=op.outputs[0], operands=(a, b), shifts=shifts, acc_bits=ACC_BITS[1])
            return self.reals(self.put(node))
        affine, addend, _ = self._operands(op)
        return affine.plus(op.what, addend)

    def _sub(self, op: Operator) -> Affine:
        affine, addend, first = self._operands(op)
        if first:
            minus = [Fraction(-1)] * len(addend)
            return affine.times(op.what, minus).plus(op.what, addend)
        return affine.plus(op.what, [-v for v in addend])

    def _mul(self, op: Operator) -> Affine:
        affine, factor, _ = self._operands(op)
        return affine.times(op.what, factor)

    def _div(self, op: Operator) -> Affine:
        affine, divisor, first = self._operands(op)
        if first or 0 in divisor:
            raise GraphError(f"{op.what}: must divide by a constant other than 0")
        return affine.times(op.what, [1 / v for v in divisor])

    def _batchnormalization(self, op: Operator) -> Affine:
        gamma, beta, mean, variance = (
            self.constant(op, number).astype(np.float64) for number in (1, 2, 3, 4)
        )
        affine = self.affine(op)
        if {v.size for v in (gamma, beta, mean, variance)} != {len(affine.scale)}:
            raise GraphError(f"{op.what}: must have {len(affine.scale)} channels")
        factor = gamma / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
        scaled = affine.plus(op.what, [-v for v in _fractions(mean)])
        return scaled.times(op.what, _fractions(factor)).plus(op.what, _fractions(beta))

    def _floor(self, op: Operator) -> Affine:
        return self.affine(op).floor(op.what)

    def _relu(self, op: Operator):
        value = self.value(op, 0)
        if isinstance(value, str):
            high = self.types[value].high
            return self.put(Clip(name=op.outputs[0], input=value, low=0, high=high))
        return replace(self.affine(op), relu=True)

    def _clip(self, op: Operator):
        value = self.value(op, 0)
        low, high = (_fractions(self.constant(op, number))[0] for number in (1, 2))
        if not isinstance(value, str):
            return self.affine(op).clip(op.what, low, high)
        code = self.types[value]
        step = Fraction(2) ** code.exponent
        if (low / step).denominator != 1 or (high / step).denominator != 1:
            raise GraphError(f"{op.what}: limits must be multiples of {float(step)}")
        low, high = max(int(low / step), code.low), min(int(high / step), code.high)
        return self.put(Clip(name=op.outputs[0], input=value, low=low, high=high))

    # Pooling and shapes

    def _window(self, op: Operator) -> dict:
        if op.attributes.get("ceil_mode", 0) or any(
            d != 1 for d in op.attributes.get("dilations", ())
        ):
            raise GraphError(f"{op.what}: ceil_mode and dilations are not supported")
        if op.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
            raise GraphError(f"{op.what}: auto_pad must be NOTSET")
        return {
            "kernel": tuple(op.attributes["kernel_shape"]),
            "stride": tuple(op.attributes.get("strides", (1, 1))),
            "padding": tuple(op.attributes.get("pads", (0, 0, 0, 0))),
        }

    def _maxpool(self, op: Operator) -> str:
        source = self.activation(op)
        return self.put(MaxPool2d(name=op.outputs[0], input=source, **self._window(op)))

    def _averagepool(self, op: Operator) -> Affine:
        window = self._window(op)
        if any(window["padding"]) and not op.attributes.get("count_include_pad", 0):
            raise GraphError(f"{op.what}: padding must be counted (count_include_pad = 1)")
        return self._mean(op, window)

    def _globalaveragepool(self, op: Operator) -> Affine:
        return self._mean(op, {"kernel": self.shape(op)[1:], "stride": (1, 1)})

    def _mean(self, op: Operator, window: dict) -> Affine:
        node = AvgPool2d(
            name=op.outputs[0],
            input=self.activation(op),
            multiplier=1,
            shift=0,
            acc_bits=ACC_BITS[1],
            **window,
        )
        affine = self.reals(self.put(node))
        return affine.times(op.what, [Fraction(1, prod(window["kernel"]))] * len(affine.scale))

    def _concat(self, op: Operator) -> str:
        if op.attributes["axis"] != 1:
            raise GraphError(f"{op.what}: axis must be 1")
        operands = tuple(self.activation(op, number) for number in range(len(op.inputs)))
        return self.put(Concat(name=op.outputs[0], operands=operands))

    def _flatten(self, op: Operator) -> str:
        if op.attributes.get("axis", 1) != 1:
            raise GraphError(f"{op.what}: axis must be 1")
        source = self.activation(op)
        if len(self.types[source].shape) == 1:
            return source
        return self.put(Flatten(name=op.outputs[0], input=source))

    def _reshape(self, op: Operator) -> str:
        shape = self.types[self.activation(op)].shape
        target = self.constant(op, 1).reshape(-1).tolist()
        if len(target) != 2 or target[1] not in (-1, prod(shape)):
            raise GraphError(f"{op.what}: must flatten {shape}, not reshape to {target}")
        return self._flatten(replace(op, attributes={}))

    def _identity(self, op: Operator):
        return self.value(op, 0)

    _cast = _dropout = _identity


def _limits(affine: Affine, low: int, high: int) -> tuple[int, int]:
    """The quantizer's limits, narrowed by a Clip or Relu before it."""
    if affine.low is not None:
        low, high = max(low, affine.low), min(high, affine.high)
    return (max(low, 0), high) if affine.relu else (low, high)
