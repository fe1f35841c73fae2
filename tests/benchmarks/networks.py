"""Graphs of well-known networks with random weights, and the same layers in float32 PyTorch."""

import numpy as np
import torch
from torch import nn

from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    narrowed,
    tensor_types,
)

__all__ = ["alexnet", "float_twin", "resnet50"]


class _Builder:
    """Layers of 3-bit weights and unsigned 8-bit activations."""

    def __init__(self):
        self.nodes: list[Node] = [
            Input(name="image", shape=(3, 224, 224), bits=8, signed=True, exponent=-5)
        ]
        self.channels = {"image": 3}
        self.random = np.random.default_rng(0)

    def add(self, kind: type[Node], channels: int, **fields) -> str:
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, **fields))
        self.channels[name] = channels
        return name

    def requantize(self, source: str, gain: int, relu: bool = True) -> str:
        channels = self.channels[source]
        shift = max(0, round(np.log2(gain)))
        return self.add(
            Requantize,
            channels,
            input=source,
            multiplier=self.random.integers(1 << 14, 1 << 16, channels),
            bias=self.random.integers(-(1 << 16), 1 << 16, channels),
            shift=np.full(channels, shift + 15),
            bits=8,
            signed=not relu,
            exponent=-4,
            low=0 if relu else -128,
            high=255 if relu else 127,
        )

    def _weights(self, *shape: int) -> dict:
        return {
            "weight": self.random.choice([0, 1, -1, 2, -2, 4, -4], shape),
            "weight_bits": 3,
            "weight_exponent": np.full(shape[0], -6),
            "acc_bits": 48,
        }

    def conv(
        self,
        source: str,
        channels: int,
        size: int,
        stride: int = 1,
        pad: int = 0,
        relu: bool = True,
    ) -> str:
        inputs = self.channels[source]
        acc = self.add(
            Conv2d,
            channels,
            input=source,
            stride=(stride, stride),
            padding=(pad,) * 4,
            **self._weights(channels, inputs, size, size),
        )
        return self.requantize(acc, np.sqrt(inputs * size * size) * 2, relu)

    def linear(self, source: str, inputs: int, outputs: int, relu: bool = True) -> str:
        acc = self.add(Linear, outputs, input=source, **self._weights(outputs, inputs))
        return self.requantize(acc, np.sqrt(inputs) * 2, relu)

    def max_pool(self, source: str, size: int, stride: int, pad: int = 0) -> str:
        return self.add(
            MaxPool2d,
            self.channels[source],
            input=source,
            kernel=(size, size),
            stride=(stride, stride),
            padding=(pad,) * 4,
        )

    def graph(self) -> Graph:
        return narrowed(Graph(nodes=tuple(self.nodes), outputs=(self.nodes[-1].name,)))


def alexnet() -> Graph:
    """AlexNet for 224 x 224 images (one tower, 64-192-384-256-256)."""
    net = _Builder()
    x = net.max_pool(net.conv("image", 64, 11, 4, 2), 3, 2)
    x = net.max_pool(net.conv(x, 192, 5, 1, 2), 3, 2)
    x = net.conv(x, 384, 3, 1, 1)
    x = net.conv(x, 256, 3, 1, 1)
    x = net.max_pool(net.conv(x, 256, 3, 1, 1), 3, 2)
    x = net.add(Flatten, 9216, input=x)
    x = net.linear(x, 9216, 4096)
    x = net.linear(x, 4096, 4096)
    net.linear(x, 4096, 1000, relu=False)
    return net.graph()


def resnet50() -> Graph:
    """ResNet-50 for 224 x 224 images."""
    net = _Builder()
    x = net.max_pool(net.conv("image", 64, 7, 2, 3), 3, 2, 1)
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            short = net.conv(x, 4 * width, 1, step, relu=False) if block == 0 else x
            y = net.conv(net.conv(x, width, 1), width, 3, step, 1)
            y = net.conv(y, 4 * width, 1, relu=False)
            total = net.add(Add, 4 * width, operands=(short, y), shifts=(0, 0), acc_bits=48)
            x = net.requantize(total, 2)
    x = net.add(
        AvgPool2d,
        2048,
        input=x,
        kernel=(7, 7),
        stride=(1, 1),
        multiplier=167,
        shift=13,
        acc_bits=48,
    )
    x = net.add(Flatten, 2048, input=net.requantize(x, 1 << 13))
    net.linear(x, 2048, 1000, relu=False)
    return net.graph()


class _Twin(nn.Module):
    """The same layers in float32, each requantizer a ReLU: what inference costs in PyTorch."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph
        types = tensor_types(graph)
        self.layers = nn.ModuleDict()
        for node in graph.nodes:
            if isinstance(node, Conv2d):
                out, per_group, *kernel = node.weight.shape
                self.layers[node.name] = nn.Conv2d(
                    per_group * node.groups,
                    out,
                    kernel,
                    node.stride,
                    node.padding[:2],
                    node.dilation,
                    node.groups,
                )
            elif isinstance(node, Linear):
                self.layers[node.name] = nn.Linear(*node.weight.shape[::-1])
            elif isinstance(node, MaxPool2d):
                self.layers[node.name] = nn.MaxPool2d(node.kernel, node.stride, node.padding[:2])
            elif isinstance(node, AvgPool2d):
                self.layers[node.name] = nn.AvgPool2d(node.kernel, node.stride)
            elif isinstance(node, Flatten):
                self.layers[node.name] = nn.Flatten()
            elif isinstance(node, Requantize):
                signed = types[node.name].signed
                self.layers[node.name] = nn.Identity() if signed else nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self.graph.nodes[0].name: x}
        for node in self.graph.nodes[1:]:
            operands = [values[name] for name in node.inputs]
            values[node.name] = (
                operands[0] + operands[1]
                if isinstance(node, Add)
                else self.layers[node.name](operands[0])
            )
        return values[self.graph.outputs[0]]


def float_twin(graph: Graph) -> nn.Module:
    """A float32 module with the layers of ``graph``."""
    return _Twin(graph).eval()
