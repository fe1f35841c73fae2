"""Random valid graphs over all node types, and codes for their inputs.

For use by every test that compares something with the interpreter: ``@given(case=cases())``, or
with a :class:`Space` that holds what the thing under test supports.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from hypothesis import strategies as st

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
    Node,
    Requantize,
    TensorType,
    narrowed,
    tensor_types,
    validate,
    value_bounds,
)
from nbqnn_train.graph.limits import max_weight
from nbqnn_train.graph.operators import OPERATORS
from tests.graph.operator_strategies import OperatorGrowth

__all__ = ["BASIC", "Case", "Space", "cases", "graphs", "input_codes"]


#: What the accelerator and the exchange formats have beside sums of products.
BASIC = (Conv2d, Linear, MaxPool2d, AvgPool2d, Add, Concat, Flatten, Clip, Requantize)


@dataclass(frozen=True, kw_only=True)
class Space:
    """What random graphs may hold; by default all that the contract knows, in small shapes."""

    kinds: tuple[type[Node], ...] = (*BASIC, *OPERATORS)
    ops: tuple[int, int] = (1, 6)
    inputs: tuple[int, int] = (1, 2)
    channels: tuple[int, int] = (1, 5)
    size: tuple[int, int] = (1, 7)
    kernel: tuple[int, int] = (1, 3)
    stride: tuple[int, int] = (1, 3)
    padding: tuple[int, int] = (0, 2)
    dilation: tuple[int, int] = (1, 2)
    grouped: bool = True
    act_bits: tuple[int, ...] = (2, 3, 4, 7, 8, 12, 16)
    weight_bits: tuple[int, ...] = (2, 3, 4, 5, 6)
    signed: tuple[bool, ...] = (False, True)
    modes: tuple[str, ...] = ("shift", "scale")
    vectors: bool = True  # whether an input can be a vector
    several_outputs: bool = True


@dataclass(frozen=True, kw_only=True)
class Case:
    """A graph and int64 codes (N, *shape) for each of its inputs."""

    graph: Graph
    codes: dict[str, np.ndarray]


def _within(bounds: tuple[int, int]) -> st.SearchStrategy[int]:
    return st.integers(*bounds)


class _Builder(OperatorGrowth):
    """A graph that grows node by node; every tensor that nothing reads becomes an output."""

    def __init__(self, draw, space: Space):
        self.draw = draw
        self.space = space
        self.nodes: list[Node] = []
        # Arrays are drawn by seed: what matters is their variety, and a failing graph still
        # shrinks.
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def type_of(self, name: str) -> TensorType:
        return tensor_types(Graph(nodes=tuple(self.nodes), outputs=()))[name]

    def range_of(self, name: str) -> tuple[int, int]:
        return value_bounds(Graph(nodes=tuple(self.nodes), outputs=()))[name]

    def append(self, kind: type[Node], **values) -> str:
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, **values))
        return name

    def activations(self) -> list[str]:
        types = tensor_types(Graph(nodes=tuple(self.nodes), outputs=()))
        return [name for name, code in types.items() if not code.is_accumulator]

    def requantized(self, source: str, **fixed) -> str:
        """A Requantize after ``source`` that uses a good part of its output's range."""
        draw, space = self.draw, self.space
        channels = self.type_of(source).shape[0]
        bits = fixed.get("bits") or draw(st.sampled_from(space.act_bits))
        signed = fixed["signed"] if "signed" in fixed else draw(st.sampled_from(space.signed))
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        reach = max(abs(value) for value in self.range_of(source))
        if draw(st.sampled_from(space.modes)) == "shift":
            multiplier = 1 << self.random.integers(0, 5, channels)
        else:
            # The sum in the requantizer must fit 64 bits, with room for bias and half.
            multiplier = self.random.integers(1, min(1 << 16, (1 << 62) // (reach + 1)), channels)
        # The largest accumulator lands near the end of the output's range, a few bits above or
        # below.
        wanted = np.array([(reach * int(m)).bit_length() for m in multiplier]) - bits
        shift = np.clip(wanted + self.random.integers(-3, 2, channels), 0, 47)
        span = np.minimum(reach * multiplier, (1 << 47) - 1)
        bias = self.random.integers(-span, span + 1)
        if draw(st.integers(0, 3)) == 0:
            low, high = self.clipping(low, high)
        return self.append(
            Requantize,
            input=source,
            multiplier=multiplier,
            bias=bias,
            shift=shift,
            bits=bits,
            signed=signed,
            exponent=fixed.get("exponent", draw(st.integers(-8, 2))),
            low=low,
            high=high,
        )

    def clipping(self, low: int, high: int) -> tuple[int, int]:
        """Ends that leave something of ``low``..``high``; now and then a single code."""
        middle = self.draw(st.integers(low, high))
        return self.draw(st.integers(low, middle)), self.draw(st.integers(middle, high))

    def weights(self, shape: tuple[int, ...], source: TensorType) -> dict:
        # No more than 48 bits for the accumulator.
        room = 46 - source.bits - prod(shape[1:]).bit_length()
        fitting = [bits for bits in self.space.weight_bits if max_weight(bits) <= 1 << room]
        bits = self.draw(st.sampled_from(fitting))
        top = max_weight(bits).bit_length()
        index = self.random.integers(0, top + 1, shape)
        sign = self.random.choice([-1, 1], shape)
        weight = np.where(index, sign * (1 << np.maximum(index - 1, 0)), 0)
        return {
            "weight": weight,
            "weight_bits": bits,
            "weight_exponent": self.random.integers(-8, 3, shape[0]),
            "acc_bits": 48,
        }

    def window(self, shape: tuple[int, ...], dilations: bool, below_kernel: bool) -> dict:
        """Kernel, stride, padding and dilation that fit a map of ``shape``."""
        draw, space = self.draw, self.space
        kernel, stride, dilation, before, after = [], [], [], [], []
        for size in shape[1:]:
            kernel.append(draw(_within(space.kernel)))
            stride.append(draw(_within(space.stride)))
            dilation.append(draw(_within(space.dilation)) if dilations else 1)
            largest = min(space.padding[1], kernel[-1] - 1) if below_kernel else space.padding[1]
            pads = draw(st.tuples(*2 * [st.integers(min(space.padding[0], largest), largest)]))
            if size + sum(pads) < dilation[-1] * (kernel[-1] - 1) + 1:
                kernel[-1], dilation[-1], pads = 1, 1, (0, 0)
            before.append(pads[0])
            after.append(pads[1])
        result = {
            "kernel": tuple(kernel),
            "stride": tuple(stride),
            "padding": (*before, *after),
        }
        return result | {"dilation": tuple(dilation)} if dilations else result

    def grow(self, kind: type[Node]) -> None:
        """Appends a node of ``kind`` and the Requantize that it needs, where it can stand."""
        draw = self.draw
        source = draw(st.sampled_from(self.activations()[::-1]))
        code = self.type_of(source)
        if kind in (Conv2d, MaxPool2d, AvgPool2d, Flatten) and len(code.shape) != 3:
            return
        if kind is Linear and len(code.shape) == 3:
            source = self.append(Flatten, input=source)
            code = self.type_of(source)
        grow = getattr(self, f"_{kind.__name__.lower()}", None) or self.growth(kind)
        grow(source, code)

    def _conv2d(self, source, code):
        draw, space = self.draw, self.space
        window = self.window(code.shape, dilations=True, below_kernel=False)
        channels = code.shape[0]
        divisors = [d for d in range(1, channels + 1) if channels % d == 0]
        groups = draw(st.sampled_from(divisors)) if space.grouped else 1
        lowest = -(-space.channels[0] // groups)
        outputs = groups * draw(st.integers(lowest, max(lowest, space.channels[1] // groups)))
        shape = (outputs, channels // groups, *window.pop("kernel"))
        conv = self.append(
            Conv2d, input=source, groups=groups, **window, **self.weights(shape, code)
        )
        self.requantized(conv)

    def _linear(self, source, code):
        outputs = self.draw(_within(self.space.channels))
        weights = self.weights((outputs, code.shape[0]), code)
        self.requantized(self.append(Linear, input=source, **weights))

    def _maxpool2d(self, source, code):
        window = self.window(code.shape, dilations=False, below_kernel=True)
        self.append(MaxPool2d, input=source, **window)

    def _avgpool2d(self, source, code):
        window = self.window(code.shape, dilations=False, below_kernel=True)
        if self.draw(st.booleans()):
            window = {"kernel": code.shape[1:], "stride": (1, 1), "padding": (0, 0, 0, 0)}
        count = window["kernel"][0] * window["kernel"][1]
        shift = (count - 1).bit_length() + (0 if count & (count - 1) == 0 else 7)
        multiplier = (2 * (1 << shift) + count) // (2 * count)
        pool = self.append(
            AvgPool2d, input=source, **window, multiplier=multiplier, shift=shift, acc_bits=48
        )
        self.requantized(pool)

    def _add(self, source, code):
        others = [name for name in self.activations() if self.type_of(name).shape == code.shape]
        other = self.draw(st.sampled_from(others))
        exponents = code.exponent, self.type_of(other).exponent
        step = min(exponents) - self.draw(st.integers(0, 2))
        shifts = tuple(exponent - step for exponent in exponents)
        self.requantized(self.append(Add, operands=(source, other), shifts=shifts, acc_bits=48))

    def _concat(self, source, code):
        others = [
            name
            for name in self.activations()
            if self.type_of(name).shape[1:] == code.shape[1:]
            and len(self.type_of(name).shape) == len(code.shape)
        ]
        other = self.draw(st.sampled_from(others))
        kind = self.type_of(other)
        if (kind.bits, kind.signed, kind.exponent) != (code.bits, code.signed, code.exponent):
            other = self.requantized(
                other, bits=code.bits, signed=code.signed, exponent=code.exponent
            )
        self.append(Concat, operands=(source, other))

    def _flatten(self, source, code):
        self.append(Flatten, input=source)

    def _clip(self, source, code):
        low, high = self.clipping(code.low, code.high)
        self.append(Clip, input=source, low=low, high=high)

    def _requantize(self, source, code):
        self.requantized(source)


@st.composite
def graphs(draw, space: Space = Space()) -> Graph:
    """Valid graphs; every accumulator is as narrow as can be proved."""
    builder = _Builder(draw, space)
    for _ in range(draw(_within(space.inputs))):
        shape = (draw(_within(space.channels)),)
        if not space.vectors or draw(st.integers(0, 7)):
            shape += draw(st.tuples(*2 * [_within(space.size)]))
        builder.append(
            Input,
            shape=shape,
            bits=draw(st.sampled_from(space.act_bits)),
            signed=draw(st.sampled_from(space.signed)),
            exponent=draw(st.integers(-8, 2)),
            ties=draw(st.sampled_from(["up", "up", "even", "odd"])),
        )
    for kind in draw(
        st.lists(st.sampled_from(space.kinds), min_size=space.ops[0], max_size=space.ops[1])
    ):
        builder.grow(kind)
    nodes = builder.nodes
    read = {source for node in nodes for source in node.inputs}
    outputs = [node.name for node in nodes if node.name not in read]
    if not space.several_outputs and len(outputs) > 1:
        nodes = _ancestors(nodes, outputs[-1])
        outputs = outputs[-1:]
    graph = narrowed(Graph(nodes=tuple(nodes), outputs=tuple(outputs)))
    validate(graph)
    return graph


def _ancestors(nodes: list[Node], output: str) -> list[Node]:
    """``output`` and what it depends on."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes if node.name in needed]


def input_codes(graph: Graph, batch: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Codes (batch, *shape) for each input: uniform, and here and there an end of the range."""
    codes = {}
    for name, code in tensor_types(graph).items():
        if not isinstance(graph[name], Input):
            continue
        values = random.integers(code.low, code.high + 1, (batch, *code.shape))
        extreme = random.choice([code.low, code.high], values.shape)
        codes[name] = np.where(random.random(values.shape) < 0.2, extreme, values)
    return codes


@st.composite
def cases(draw, space: Space = Space(), batch: tuple[int, int] = (1, 2)) -> Case:
    """Graphs with codes for their inputs."""
    graph = draw(graphs(space))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Case(graph=graph, codes=input_codes(graph, draw(_within(batch)), random))
