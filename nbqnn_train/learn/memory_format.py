"""The order of weights and activations in memory, while training."""

import torch
from torch import nn

__all__ = ["in_fast_layout"]

#: With fewer channels side by side, what is done channel by channel fills no vector register.
_FEW_CHANNELS = 16


def in_fast_layout(network: nn.Module) -> nn.Module:
    """``network``, its convolutions' weights moved to the layout in which a step takes least time.

    Channels last, which outputs take over from weights, unless a convolution has few channels.
    Values stay as they are.
    """
    convolutions = [weight for weight in network.parameters() if weight.dim() == 4]
    few = any(len(weight) < _FEW_CHANNELS for weight in convolutions)
    return network.to(memory_format=torch.contiguous_format if few else torch.channels_last)
