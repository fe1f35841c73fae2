"""The fewest cycles that an image can take, from the shapes of the layers alone."""

from dataclasses import dataclass
from math import prod

from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Conv2d, Graph, Linear, tensor_types

__all__ = ["Work", "least_cycles", "work_of"]


@dataclass(frozen=True)
class Work:
    """A layer in numbers.

    positions, channels : of its output.
    products : of one output.
    channelwise : computed beside the array, ``lanes`` channels at once.
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
    """Cycles that no schedule can do without: of every group its steps, or the time to drain it.

    Transfers, waiting, and what kernels and channels waste are not counted.
    """
    cycles = 0
    for layer in work:
        width = config.lanes if layer.channelwise else config.filters
        steps = layer.products if layer.channelwise else -(-layer.products // config.lanes)
        groups = -(-layer.positions // config.pixels)
        full, rest = divmod(layer.channels, width)
        for count, channels in ((full, width), (1, rest)):
            if count and channels:
                drain = -(-channels // config.post_lanes)
                cycles += count * max(
                    groups * steps, -(-layer.positions * drain // config.post_positions)
                )
    return cycles
