"""The windows of a pooling layer, which may follow from the size of the map."""

from dataclasses import dataclass

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Window"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where a pooling layer looks.

    kernel, stride : (vertical, horizontal); None where ``size`` says what comes out.
    padding : (top, left, bottom, right).
    ceil : whether a last window that leaves the map at the bottom or the right counts.
    size : height and width of what comes out (adaptive pooling), each None for as it is.
    path : of the module, for errors.
    """

    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False
    size: tuple[int | None, int | None] | None = None
    path: str = ""

    def at(
        self, height: int, width: int
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        """Kernel, stride and padding (top, left, bottom, right) on a map of this size."""
        if self.size is not None:
            kernel = self._adaptive(height, width)
            return kernel, kernel, (0, 0, 0, 0)
        if not self.ceil:
            return self.kernel, self.stride, self.padding
        top, left, bottom, right = self.padding
        bottom += self._beyond(height, 0, top, bottom)
        right += self._beyond(width, 1, left, right)
        return self.kernel, self.stride, (top, left, bottom, right)

    def _beyond(self, size: int, axis: int, before: int, after: int) -> int:
        """Positions beyond the padding that the last window takes, as PyTorch rounds up."""
        kernel, stride = self.kernel[axis], self.stride[axis]
        room = size + before + after - kernel
        steps = -(-room // stride)
        if steps * stride >= size + before:  # the last window must begin on the map
            steps -= 1
        return max(steps * stride - room, 0)

    def _adaptive(self, height: int, width: int) -> tuple[int, int]:
        wanted = [
            own if size is None else size
            for size, own in zip(self.size, (height, width), strict=True)
        ]
        if height % wanted[0] or width % wanted[1]:
            raise NbqnnError(
                f"{self.path}: adaptive pooling to {wanted[0]} x {wanted[1]} must divide the "
                f"feature map, not {height} x {width}"
            )
        return height // wanted[0], width // wanted[1]
