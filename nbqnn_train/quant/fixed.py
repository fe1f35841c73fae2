"""Convolution with given weights of 0 and 1: copies, moves and pads channels, exactly."""

from torch import Tensor, nn

from nbqnn_train.quant.weighted import Geometry

__all__ = ["FixedConvOp"]


class FixedConvOp(nn.Module):
    """Each output channel is one input channel or zero; the format of the input is kept.

    weight : (Cout, Cin, KH, KW), at most a single 1 per output channel and else zeros.
    """

    def __init__(self, weight: Tensor, geometry: Geometry):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.geometry = geometry

    def forward(self, values, sources, record=None) -> Tensor:
        (value,) = values
        result = self.geometry.convolve(value, self.weight.to(value.dtype))
        if record is not None:
            record("", result)
        return result
