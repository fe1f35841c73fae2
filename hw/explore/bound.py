"""A lower bound of an image's cycles, from the shapes of the layers alone."""

from dataclasses import dataclass
from math import prod

from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Conv2d, Graph, Linear, tensor_types

__all__ = ["Work", "least_cycles", "work_of"]


@dataclass(frozen=True)
class Work:
    """A layer in numbers.

    positions, channels : size of its output.
    products : multiplications for one output.
    channelwise : whether the channel-wise unit computes it, ``lanes`` channels at once.
    """

    positions: int
    channels: int
    products: int
    channelwise: bool

    @property
    def macs(self) -> int:
        return self.positions * self.channels * self.products


def work_of(graph: Graph) -> tuple[Work, ...]:
    """The layers that have weights."""
    types = tensor_types(graph)
    work = []
    for node in graph.nodes:
        if isinstance(node, Linear):
            channels, products = node.weight.shape
            work.append(Work(1, channels, products, False))
        elif isinstance(node, Conv2d):
            channels, *one = node.weight.shape
            positions = prod(types[node.name].shape[1:])
            depthwise = node.groups > 1 and node.weight.shape[:2] == (node.groups, 1)
            work.append(Work(positions, channels, prod(one), depthwise))
    return tuple(work)


def least_cycles(work: tuple[Work, ...], config: AcceleratorConfig) -> int:
    """Cycles that every schedule takes: for each group its steps or its drain, the longer of both.

    Transfers, waiting, and lanes that kernels and channels leave idle are not counted.
    """
    cycles = 0
    for layer in work:
        width = config.lanes if layer.channelwise else config.filters
        at_once = config.depthwise_taps if layer.channelwise else config.lanes
        steps = -(-layer.products // at_once)
        groups = -(-layer.positions // config.pixels)
        full, rest = divmod(layer.channels, width)
        for count, channels in ((full, width), (1, rest)):
            if count and channels:
                drain = -(-channels // config.post_lanes)
                cycles += count * max(
                    groups * steps, -(-layer.positions * drain // config.post_positions)
                )
    return cycles
