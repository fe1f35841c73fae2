"""The shortcut without parameters of the CIFAR residual networks (option A of He et al. 2015)."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PaddedShortcut"]


class PaddedShortcut(nn.Module):
    """Every ``stride``-th row and column, between ``padding`` channels of zeros on either side.

    (N, C, H, W) to (N, C + 2 * padding, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, channels: int, padding: int, stride: int):
        super().__init__()
        self.channels = channels
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.padding, self.padding))
