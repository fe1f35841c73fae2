"""The size of a window's output."""

__all__ = ["window_output"]


def window_output(
    size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int = 1
) -> int:
    """Positions that a window takes along one dimension; below 1 where it does not fit.

    ``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1``
    """
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
