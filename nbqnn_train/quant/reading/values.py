"""Values and constants: a node of an exported graph stands for one of them."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

__all__ = ["Constant", "Joined", "Value", "canonical"]


def canonical(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, without the batch, in which a quantized network holds a tensor of ``shape``: maps
    (C, H, W), series (C, L) as maps of height 1, vectors (F,)."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the input.

    tensor : a parameter or buffer of the module itself, or what was computed.
    path : of the parameter or buffer; empty where it was computed.
    learned : whether it was computed from parameters that are learned.
    source : "file:line" of the computation.
    origin : for a parameter times a mask of zeros and ones, the paths of both.
    kept : the mask.
    """

    tensor: Tensor
    path: str = ""
    learned: bool = False
    source: str = ""
    origin: tuple[str, ...] = ()
    kept: Tensor | None = None


@dataclass(frozen=True)
class Value:
    """A tensor of the network, perhaps in another shape or with its dimensions in another order.

    name : of the operation that computes it.
    base : shape without the batch in which the elements are in the operation's order.
    order : the dimensions of ``base`` in the order in which they are seen; None for as they are.
    steps : from the operation's value to a tensor whose elements are in yet another order: views
        and permutations, each with the shape or order without the batch. Empty where ``base`` and
        ``order`` say all.
    flat : name of the flattening before a linear layer.
    """

    name: str
    base: tuple[int, ...]
    order: tuple[int, ...] | None = None
    steps: tuple[tuple[str, tuple[int, ...]], ...] = ()
    flat: str = "flatten"

    @property
    def shape(self) -> tuple[int, ...]:
        if self.steps:
            return _after(self.steps, self.base)
        return self.base if self.order is None else tuple(self.base[d] for d in self.order)

    @property
    def plain(self) -> bool:
        """Whether the elements are in the operation's order."""
        return self.order is None and not self.steps

    def arrangement(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Views and permutations from the operation's value to this one."""
        if self.steps:
            return (("view", self.base), *self.steps)
        if self.order is None:
            return (("view", self.base),)
        return ("view", self.base), ("permute", self.order)

    def named(self, name: str) -> "Value":
        """The same view of another operation's value."""
        return replace(self, name=name)

    def viewed(self, shape: tuple[int, ...], flat: str) -> "Value":
        """The value in another shape; ``flat`` names the view."""
        if self.plain:
            return Value(self.name, shape, flat=flat)
        steps = self.steps or (("permute", self.order),)
        return replace(self, order=None, steps=(*steps, ("view", shape)))

    def permuted(self, order: tuple[int, ...]) -> "Value":
        """The value with its dimensions in another order."""
        if self.steps:
            return replace(self, steps=(*self.steps, ("permute", order)))
        before = self.order or tuple(range(len(self.base)))
        after = tuple(before[d] for d in order)
        large = [d for d in after if self.base[d] != 1]
        if large == sorted(large):  # only dimensions of size 1 have moved
            return Value(self.name, tuple(self.base[d] for d in after), flat=self.flat)
        return replace(self, order=after)

    @property
    def size(self) -> int:
        return math.prod(self.base)


@dataclass(frozen=True)
class Joined:
    """Values that the module concatenates at its very end, along ``dim``, not counting the batch.

    The graph has them one by one. steps : views and permutations that come behind.
    """

    parts: tuple["Value | Joined", ...]
    dim: int
    steps: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.parts[0].shape)
        shape[self.dim] = sum(part.shape[self.dim] for part in self.parts)
        return _after(self.steps, tuple(shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def viewed(self, shape: tuple[int, ...], flat: str) -> "Joined":
        """The values in another shape, as :meth:`Value.viewed`."""
        return replace(self, steps=(*self.steps, ("view", shape)))

    def permuted(self, order: tuple[int, ...]) -> "Joined":
        """The values with their dimensions in another order."""
        return replace(self, steps=(*self.steps, ("permute", order)))


def _after(
    steps: tuple[tuple[str, tuple[int, ...]], ...], shape: tuple[int, ...]
) -> tuple[int, ...]:
    for kind, argument in steps:
        shape = argument if kind == "view" else tuple(shape[d] for d in argument)
    return shape
