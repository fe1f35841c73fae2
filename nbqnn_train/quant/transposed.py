"""Where a transposed convolution puts its products."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

__all__ = ["TransposedGeometry", "turned"]


def turned(weight: Tensor, groups: int) -> Tensor:
    """(Cin, Cout / groups, KH, KW), as PyTorch has it, with its first two axes swapped within each
    group: (Cout, Cin / groups, KH, KW)."""
    inputs, outputs, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *kernel)
    return grouped.transpose(1, 2).reshape(groups * outputs, inputs // groups, *kernel)


@dataclass(frozen=True)
class TransposedGeometry:
    """Of a transposed convolution; padding is (top, left, bottom, right), cut off the output.

    output_padding : rows and columns that are added behind.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, int] = (0, 0)

    def convolve(self, value: Tensor, weight: Tensor) -> Tensor:
        """``weight`` is (Cout, Cin / groups, KH, KW)."""
        return F.conv_transpose2d(
            value,
            turned(weight, self.groups),
            None,
            self.stride,
            self.padding[:2],
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def windows(self, value: Tensor, kernel: tuple[int, int]) -> Tensor:
        """(N, C, OH, OW, KH, KW): what each tap of each output position multiplies."""
        rows, columns = self.stride
        count, channels, height, width = value.shape
        spread = value.new_zeros(count, channels, height, rows, width, columns)
        spread[:, :, :, 0, :, 0] = value
        value = spread.reshape(count, channels, height * rows, width * columns)
        sizes = []
        for axis in (1, 0):
            reach = self.dilation[axis] * (kernel[axis] - 1)
            behind = reach - self.padding[2 + axis] + self.output_padding[axis]
            sizes += [reach - self.padding[axis], behind - (self.stride[axis] - 1)]
        value = F.pad(value, sizes)
        for axis in (0, 1):
            value = value.unfold(2 + axis, self.dilation[axis] * (kernel[axis] - 1) + 1, 1)
        return value[..., :: self.dilation[0], :: self.dilation[1]].flip([4, 5])
