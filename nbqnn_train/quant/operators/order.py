"""Operations that compute nothing: codes in another order, repeated or left out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nbqnn_train.graph.nodes import Node
from nbqnn_train.graph.operators import (
    Channels,
    DepthToSpace,
    Flip2d,
    Slice2d,
    SpaceToDepth,
    Unflatten,
    Upsample2d,
)
from nbqnn_train.quant.operators.operator import Operator

__all__ = [
    "ChannelsOp",
    "DepthToSpaceOp",
    "FlipOp",
    "MoveOp",
    "SliceOp",
    "SpaceToDepthOp",
    "UnflattenOp",
    "UpsampleOp",
]


class MoveOp(Operator):
    """Base of those that keep the format of their input."""

    def moved(self, value: Tensor) -> Tensor:
        """What becomes of (N, ...)."""
        raise NotImplementedError

    def node(self, name: str, source: str) -> Node:
        """The graph's node."""
        raise NotImplementedError

    def forward(self, values, sources, record=None) -> Tensor:
        return self.moved(values[0])

    def real(self, value: Tensor) -> Tensor:
        return self.moved(value)

    def export(self, exporter, step) -> str:
        return exporter.put(self.node(step.name, exporter.source(step)))


class ChannelsOp(MoveOp):
    """Channels (or features) ``index``, in that order; one may occur several times."""

    def __init__(self, index: tuple[int, ...]):
        super().__init__()
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def moved(self, value: Tensor) -> Tensor:
        return value.index_select(1, self.index)

    def node(self, name: str, source: str) -> Node:
        return Channels(name=name, input=source, index=self.index.cpu().numpy())


class UnflattenOp(MoveOp):
    """(N, F) to (N, C, H, W)."""

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        self.shape = shape

    def moved(self, value: Tensor) -> Tensor:
        return value.reshape(len(value), *self.shape)

    def node(self, name: str, source: str) -> Node:
        return Unflatten(name=name, input=source, shape=self.shape)


class DepthToSpaceOp(MoveOp):
    """Channels become blocks of pixels (pixel shuffle)."""

    def __init__(self, block: int):
        super().__init__()
        self.block = block

    def moved(self, value: Tensor) -> Tensor:
        return F.pixel_shuffle(value, self.block)

    def node(self, name: str, source: str) -> Node:
        return DepthToSpace(name=name, input=source, block=self.block)


class SpaceToDepthOp(MoveOp):
    """Blocks of pixels become channels (pixel unshuffle)."""

    def __init__(self, block: int):
        super().__init__()
        self.block = block

    def moved(self, value: Tensor) -> Tensor:
        return F.pixel_unshuffle(value, self.block)

    def node(self, name: str, source: str) -> Node:
        return SpaceToDepth(name=name, input=source, block=self.block)


class FlipOp(MoveOp):
    """Rows, columns or both in reverse order."""

    def __init__(self, vertical: bool, horizontal: bool):
        super().__init__()
        self.vertical, self.horizontal = vertical, horizontal

    def moved(self, value: Tensor) -> Tensor:
        return value.flip([d for d, turned in ((2, self.vertical), (3, self.horizontal)) if turned])

    def node(self, name: str, source: str) -> Node:
        return Flip2d(name=name, input=source, vertical=self.vertical, horizontal=self.horizontal)


class SliceOp(MoveOp):
    """Rows and columns from ``start``, ``stride`` apart, ``size`` of them; (vertical,
    horizontal)."""

    def __init__(self, start: tuple[int, int], stride: tuple[int, int], size: tuple[int, int]):
        super().__init__()
        self.start, self.stride, self.size = start, stride, size

    def moved(self, value: Tensor) -> Tensor:
        rows, columns = (
            slice(start, start + (size - 1) * stride + 1, stride)
            for start, stride, size in zip(self.start, self.stride, self.size, strict=True)
        )
        return value[:, :, rows, columns]

    def node(self, name: str, source: str) -> Node:
        return Slice2d(
            name=name, input=source, start=self.start, stride=self.stride, size=self.size
        )


class UpsampleOp(MoveOp):
    """Every position ``factor`` times, (vertical, horizontal)."""

    def __init__(self, factor: tuple[int, int]):
        super().__init__()
        self.factor = factor

    def moved(self, value: Tensor) -> Tensor:
        rows, columns = self.factor
        return value.repeat_interleave(rows, 2).repeat_interleave(columns, 3)

    def node(self, name: str, source: str) -> Node:
        return Upsample2d(name=name, input=source, factor=self.factor)
