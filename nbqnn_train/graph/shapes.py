"""Whether two shapes hold the same values in the same order."""

from collections.abc import Sequence

__all__ = ["same_order"]


def same_order(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes differ at most in axes of length one.

    A series (C, L) is a map (C, 1, L), and a vector (F,) an image (F, 1, 1) of one pixel.
    """
    return [size for size in one if size != 1] == [size for size in other if size != 1]
