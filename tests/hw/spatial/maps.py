"""Small convolutional graphs with random weights, for circuits."""

from collections.abc import Iterator, Sequence

import numpy as np

from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    MaxPool2d,
    Requantize,
    Sum,
    Table,
    TensorType,
    narrowed,
    tensor_types,
)

__all__ = ["Maps", "random_maps", "valid_maps"]

_BITS = 5


class Maps:
    """A graph in the making; every method adds nodes and returns the name of the last one.

    scale : multipliers of any size, in place of powers of two.
    """

    def __init__(
        self, seed: int, shape: tuple[int, int, int], *, signed: bool = True, scale: bool = False
    ):
        self.random = np.random.default_rng(seed)
        self.scale = scale
        self.nodes = [Input(name="x", shape=shape, bits=_BITS, signed=signed, exponent=0)]

    def graph(self) -> Graph:
        """All nodes, the last one being the output."""
        return narrowed(Graph(nodes=tuple(self.nodes), outputs=(self.nodes[-1].name,)))

    def _add(self, node) -> str:
        self.nodes.append(node)
        return node.name

    def _type(self, name: str) -> TensorType:
        return tensor_types(Graph(nodes=tuple(self.nodes), outputs=(name,)))[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._type(name).shape

    def _weights(self, shape: Sequence[int]) -> np.ndarray:
        magnitude = self.random.choice([0, 1, 2, 4], shape, p=[0.3, 0.3, 0.25, 0.15])
        return magnitude * self.random.choice([-1, 1], shape)

    def rounded(
        self,
        source: str,
        channels: int,
        shift: int = 3,
        signed: bool = False,
        exponent: int = 0,
    ) -> str:
        """A requantizer, of its own numbers for each channel."""
        random = self.random
        extra = random.integers(1, 200, channels) if self.scale else np.ones(channels, np.int64)
        return self._add(
            Requantize(
                name=f"n{len(self.nodes)}",
                input=source,
                multiplier=extra << random.integers(0, 2, channels),
                bias=random.integers(-40, 40, channels) * (50 if self.scale else 1),
                shift=random.integers(shift - 1, shift + 2, channels) + (6 if self.scale else 0),
                bits=_BITS,
                signed=signed,
                exponent=exponent,
                low=-(1 << _BITS - 1) if signed else 0,
                high=(1 << _BITS - signed) - 1,
            )
        )

    def conv(self, source, channels, kernel, stride=(1, 1), padding=(0, 0, 0, 0), **more) -> str:
        """A convolution and its requantizer."""
        groups = more.get("groups", 1)
        inputs = self._shape(source)[0] // groups
        name = self._add(
            Conv2d(
                name=f"n{len(self.nodes)}",
                input=source,
                weight=self._weights((channels, inputs, *kernel)),
                weight_bits=3,
                weight_exponent=np.zeros(channels, int),
                stride=stride,
                padding=padding,
                acc_bits=40,
                dilation=more.get("dilation", (1, 1)),
                groups=groups,
            )
        )
        form = {key: more[key] for key in ("signed", "exponent") if key in more}
        return self.rounded(name, channels, **form)

    def linear(self, source: str, features: int) -> str:
        """A dense layer behind a flattened map, and its requantizer."""
        if len(self._shape(source)) == 3:
            source = self._add(Flatten(name=f"n{len(self.nodes)}", input=source))
        name = self._add(
            Linear(
                name=f"n{len(self.nodes)}",
                input=source,
                weight=self._weights((features, self._shape(source)[0])),
                weight_bits=3,
                weight_exponent=np.zeros(features, int),
                acc_bits=40,
            )
        )
        return self.rounded(name, features, signed=True)

    def largest(self, source, kernel, stride, padding=(0, 0, 0, 0)) -> str:
        """Max pooling."""
        return self._add(
            MaxPool2d(
                name=f"n{len(self.nodes)}",
                input=source,
                kernel=kernel,
                stride=stride,
                padding=padding,
            )
        )

    def average(self, source, kernel=None, stride=(1, 1), padding=(0, 0, 0, 0)) -> str:
        """Average pooling, of the whole map if no kernel is given, and its requantizer."""
        channels, *size = self._shape(source)
        name = self._add(
            AvgPool2d(
                name=f"n{len(self.nodes)}",
                input=source,
                kernel=kernel or tuple(size),
                stride=stride,
                padding=padding,
                multiplier=5,
                shift=4,
                acc_bits=40,
            )
        )
        return self.rounded(name, channels, shift=5)

    def add(self, *operands: str) -> str:
        """A sum of two maps, or of more with a sign, and its requantizer."""
        name = f"n{len(self.nodes)}"
        exponents = [self._type(operand).exponent for operand in operands]
        form = {"shifts": tuple(e - min(exponents) for e in exponents), "acc_bits": 40}
        if len(operands) == 2:
            self._add(Add(name=name, operands=operands, **form))
        else:
            signs = tuple((-1) ** n for n in range(len(operands)))
            self._add(Sum(name=name, operands=operands, signs=signs, **form))
        return self.rounded(name, self._shape(operands[0])[0], shift=1)

    def concat(self, *operands: str) -> str:
        """Channels of several maps."""
        return self._add(Concat(name=f"n{len(self.nodes)}", operands=operands))

    def table(self, source: str) -> str:
        """A random function of each code."""
        codes = self.random.integers(0, 1 << _BITS, 1 << _BITS)
        return self._add(
            Table(
                name=f"n{len(self.nodes)}",
                input=source,
                table=codes,
                bits=_BITS,
                signed=False,
                exponent=0,
            )
        )


def random_maps(seed: int) -> Graph:
    """A few layers of random kinds, sizes, strides and paddings, with sums of branches."""
    random = np.random.default_rng(seed)
    size = random.integers(1, 8, 2)
    maps = Maps(
        seed,
        (int(random.integers(1, 4)), int(size[0]), int(size[1])),
        signed=bool(random.integers(2)),
        scale=random.random() < 0.3,
    )
    at = "x"
    for _ in range(random.integers(1, 4)):
        at = _random_layer(maps, at, random)
    end = random.integers(3)
    if end == 0:
        maps.linear(at, 3)
    elif end == 1:
        maps.linear(maps.average(at), 3)
    return maps.graph()


def valid_maps(first: int) -> Iterator[tuple[int, Graph]]:
    """Seeds from ``first`` on, and their graphs. Some windows do not fit their maps: not those."""
    for seed in range(first, first + 10_000):
        try:
            yield seed, random_maps(seed)
        except GraphError:
            continue


def _random_window(random, size) -> dict:
    kernel = tuple(int(random.integers(1, min(3, n) + 1)) for n in size)
    padding = tuple(int(random.integers(0, kernel[n % 2])) for n in range(4))
    return {
        "kernel": kernel,
        "stride": tuple(int(s) for s in random.integers(1, 3, 2)),
        "padding": padding,
    }


def _random_layer(maps: Maps, at: str, random) -> str:
    channels, *size = maps._shape(at)
    form = _random_window(random, size)
    match random.integers(6):
        case 0:
            return maps.largest(at, **form)
        case 1:
            return maps.average(at, **form)
        case 2:
            return maps.table(at) if maps._type(at).bits == _BITS else at
        case 3 | 4:
            # Two ways to a map of one size, of which one may be longer.
            a = maps.conv(at, channels, **form, groups=channels)
            b = maps.conv(at, channels, **form)
            if random.integers(2):
                b = maps.conv(b, channels, (3, 3), padding=(1, 1, 1, 1))
            return maps.add(a, b) if random.integers(2) else maps.concat(b, a)
        case _:
            return maps.conv(at, int(random.integers(1, 5)), **form)
