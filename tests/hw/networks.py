"""Networks made by hand, and images that reach every code, for runs on the accelerator."""

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
    narrowed,
    run,
    tensor_types,
    validate,
    value_bounds,
)
from nbqnn_train.graph.limits import max_weight
from nbqnn_train.graph.operators import Multiply, Table

__all__ = [
    "Network",
    "gated_network",
    "images",
    "random_table",
    "small_network",
    "traced_codes",
]


class Network:
    """A graph that grows layer by layer, each after the one before unless told otherwise.

    Parameters
    ----------
    seed : int
        Of weights, biases, shifts and multipliers.
    scale : bool
        Multipliers of 16 bits, else powers of two.
    """

    def __init__(self, *, seed: int, scale: bool = False):
        self.rng = np.random.default_rng(seed)
        self.scale = scale
        self.nodes = []

    @property
    def last(self) -> str:
        return self.nodes[-1].name

    def add(self, kind, name: str, **values) -> "Network":
        if kind is not Input and "operands" not in values:
            values.setdefault("input", self.last)
        self.nodes.append(kind(name=name, **values))
        return self

    def weights(self, shape: tuple[int, ...], bits: int) -> dict:
        powers = 1 << np.arange(max_weight(bits).bit_length())
        return {
            "weight": self.rng.choice(np.concatenate([[0], powers, -powers]), shape),
            "weight_bits": bits,
            "weight_exponent": np.zeros(shape[0], int),
            "acc_bits": 48,
        }

    def conv(self, name: str, shape: tuple[int, int, int, int], bits: int, **window) -> "Network":
        return self.add(Conv2d, name, **self.weights(shape, bits), **window)

    def linear(self, name: str, outputs: int, bits: int) -> "Network":
        inputs = tensor_types(Graph(nodes=tuple(self.nodes), outputs=()))[self.last].shape[0]
        return self.add(Linear, name, **self.weights((outputs, inputs), bits))

    def requantize(self, name: str, bits: int, signed: bool, **fields) -> "Network":
        """To ``bits``, with outputs over all of their range and a few saturated ones."""
        graph = Graph(nodes=tuple(self.nodes), outputs=())
        channels = tensor_types(graph)[self.last].shape[0]
        reach = max(abs(value) for value in value_bounds(graph)[self.last])
        if self.scale:
            multiplier = self.rng.integers(1, 1 << 16, channels)
        else:
            multiplier = 1 << self.rng.integers(0, 5, channels)
        wanted = np.array([(reach * int(value)).bit_length() for value in multiplier]) - bits
        span = np.minimum(reach * multiplier // 4, (1 << 47) - 1)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return self.add(
            Requantize,
            name,
            multiplier=multiplier,
            bias=self.rng.integers(-span, span + 1),
            shift=np.clip(wanted - self.rng.integers(0, 4, channels), 0, 47),
            bits=bits,
            signed=signed,
            **({"low": low, "high": high, "exponent": -4} | fields),
        )

    def graph(self, *outputs: str) -> Graph:
        graph = narrowed(Graph(nodes=tuple(self.nodes), outputs=outputs or (self.last,)))
        validate(graph)
        return graph


def small_network(
    *, act_bits: int, weight_bits: int, scale: bool, seed: int = 1, filters: int = 9
) -> Graph:
    """Every kind of layer: strides, dilation, uneven padding, partial groups, two outputs.

    ``filters``, a multiple of 3, are the channels of the layers in the middle.
    """
    few = min(weight_bits, 2)
    net = Network(seed=seed, scale=scale)
    net.add(Input, "image", shape=(3, 8, 7), bits=act_bits, signed=False, exponent=-act_bits)
    net.conv(
        "conv1", (5, 3, 3, 2), weight_bits, stride=(2, 1), padding=(1, 2, 0, 1), dilation=(1, 2)
    )
    net.requantize("act1", act_bits, False)
    net.add(MaxPool2d, "pool", kernel=(3, 2), stride=(1, 2), padding=(1, 1, 2, 0))
    net.add(Clip, "clip", low=3, high=(1 << act_bits) - 4)
    net.requantize("rescale", act_bits - 1, True, low=-3)
    net.conv("conv2", (filters, 5, 1, 1), few)
    net.requantize("act2", act_bits, True, low=0)
    residual = net.last
    net.conv("depthwise", (filters, 1, 3, 2), few, padding=(1, 0, 1, 1), groups=filters)
    net.requantize("act_depthwise", act_bits, False, exponent=-5)
    net.add(Add, "add", operands=(net.last, residual), shifts=(0, 1), acc_bits=48)
    net.requantize("act_add", act_bits, False, exponent=-5)
    net.add(Concat, "concat", operands=(net.last, "act_depthwise", net.last))
    net.add(AvgPool2d, "average", kernel=(2, 2), stride=(1, 1), padding=(0, 1, 0, 0),
            multiplier=3, shift=4, acc_bits=48)  # fmt: skip
    net.requantize("act_average", act_bits, True, low=0)
    net.conv("grouped", (filters, filters, 1, 1), few, groups=3)
    net.requantize("act_grouped", act_bits, True)
    net.conv("conv3", (6, filters, 2, 3), weight_bits, stride=(1, 2), padding=(0, 1, 1, 1))
    net.requantize("act3", act_bits - 2, False)
    net.add(Flatten, "flat")
    net.linear("linear", 10, few)
    net.requantize("logits", act_bits, True)
    return net.graph("logits", "clip")


def random_table(net: Network, name: str, source: str, bits: int, signed: bool) -> None:
    """Any codes at all, for an input of ``bits``; 257 knots where it has more than 8."""
    least = -(1 << bits - 1) if signed else 0
    codes = net.rng.integers(least, least + (1 << bits), 1 << bits if bits <= 8 else 257)
    net.add(Table, name, input=source, table=codes, bits=bits, signed=signed, exponent=-3)


def gated_network(
    *, act_bits: int, weight_bits: int, scale: bool, tables: bool, seed: int
) -> Graph:
    """Squeeze and excite with gates of each signedness, then maps times maps and themselves.

    With ``tables`` each kind of layer ends in one, another stands alone, two follow each other.
    """
    net = Network(seed=seed, scale=scale)
    net.add(Input, "image", shape=(3, 6, 5), bits=act_bits, signed=True, exponent=0)
    for number, (signed, gate_signed) in enumerate(
        ((True, False), (False, False), (False, True), (True, True))
    ):
        net.conv(f"conv{number}", (9, 3 if number == 0 else 9, 1, 2), weight_bits)
        net.requantize(f"map{number}", act_bits, signed)
        source = net.last
        if tables:
            random_table(net, f"function{number}", source, act_bits, signed)
            source = net.last
        height, width = 6, 4 - number
        net.add(AvgPool2d, f"mean{number}", kernel=(height, width), stride=(1, 1),
                padding=(0, 0, 0, 0), multiplier=1, shift=2, acc_bits=48)  # fmt: skip
        net.requantize(f"squeezed{number}", act_bits, signed)
        net.conv(f"excite{number}", (9, 9, 1, 1), weight_bits)
        net.requantize(f"gate{number}", act_bits, gate_signed)
        if tables:
            random_table(net, f"gate_first{number}", net.last, act_bits, not gate_signed)
            random_table(net, f"gate_function{number}", net.last, act_bits, gate_signed)
        net.add(Multiply, f"scale{number}", operands=(source, net.last), acc_bits=48)
        net.requantize(f"scaled{number}", act_bits, signed)
    last = net.last
    net.add(MaxPool2d, "pooled", kernel=(3, 1), stride=(1, 1), padding=(1, 0, 1, 0))
    net.add(Clip, "clipped", low=-2, high=3)
    if tables:
        random_table(net, "of_clipped", "clipped", act_bits, True)
        random_table(net, "of_pooled", "pooled", act_bits, True)
    net.add(Multiply, "square", operands=(last, last), acc_bits=48)
    net.requantize("squared", act_bits, False)
    net.add(Multiply, "map_by_map", operands=(last, "squared"), acc_bits=48)
    net.requantize("out", act_bits, True)
    net.add(Multiply, "unsigned_square", operands=("squared", "squared"), acc_bits=48)
    net.requantize("other", act_bits, False)
    outputs = ["out", "other", "clipped"]
    return net.graph(*outputs, *(["of_clipped", "of_pooled"] if tables else []))


def images(graph: Graph, count: int, seed: int = 1) -> np.ndarray:
    """float32 (count, *shape): over the range and beyond its ends; then all low, all high."""
    (node,) = graph.input_nodes
    type_ = tensor_types(graph)[node.name]
    rng = np.random.default_rng(seed)
    codes = rng.integers(type_.low - 2, type_.high + 3, (count, *node.shape)).astype(np.float64)
    codes[1:2], codes[2:3] = type_.low, type_.high
    return np.ldexp(codes, node.exponent).astype(np.float32)


def traced_codes(graph: Graph, x: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Codes of every node by name, one dict for each image, from the interpreter."""
    codes = run(graph, x, trace=True)
    return [{name: values[i] for name, values in codes.items()} for i in range(len(x))]
