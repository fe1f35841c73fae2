"""The order of weights and activations in memory, while training."""

import torch
from torch import nn

__all__ = ["in_fast_layout"]

#: Fewer channels side by side do not fill a vector register.
_FEW_CHANNELS = 16


def in_fast_layout(network: nn.Module) -> nn.Module:
    """``network``, with its convolutions' weights in the order in which a step takes least time.

    That is channels last, unless a convolution over windows has few channels. Those of 1 x 1
    pixels, as in squeeze-and-excite, lose little. Outputs take the order over from weights. Values
    stay as they are.
    """
    convolutions = [weight for weight in network.parameters() if weight.dim() == 4]
    few = any(len(w) < _FEW_CHANNELS for w in convolutions if w.shape[2:].numel() > 1)
    return network.to(memory_format=torch.contiguous_format if few else torch.channels_last)
