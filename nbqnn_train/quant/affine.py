"""A factor and a summand by channel that do not follow the batch: frozen batch norm and its kin."""

import torch
from torch import Tensor, nn

__all__ = ["AffineNorm"]


class AffineNorm(nn.Module):
    """``scale * x + offset`` on (N, C, ...), like a batch norm whose statistics stay as they are.

    Its running mean is 0 until post-training quantization moves it, to make up for rounded weights.

    scale, offset : (C,), or (1,) for all channels; None for 1 and 0. Parameters learn, other
        tensors stay.
    """

    eps = 0.0
    #: Of a running mean, which there is none of.
    momentum: float | None = None

    def __init__(self, channels: int, scale: Tensor | None, offset: Tensor | None):
        super().__init__()
        self.channels = channels
        for name, tensor in (("scale", scale), ("offset", offset)):
            if tensor is None or isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.detach().clone())
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels), persistent=False)

    @property
    def weight(self) -> Tensor | None:
        return None if self.scale is None else self.scale.expand(self.channels)

    @property
    def bias(self) -> Tensor | None:
        return None if self.offset is None else self.offset.expand(self.channels)

    def forward(self, value: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (value.dim() - 2))
        value = value - self.running_mean.reshape(shape)
        if self.scale is not None:
            value = value * self.scale.reshape(shape)
        return value if self.offset is None else value + self.offset.reshape(shape)
