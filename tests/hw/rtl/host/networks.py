"""Networks with random weights: one of the size of the demo's, one for the slowest of lines."""

from nbqnn_train.graph import Flatten, Graph, Input, MaxPool2d
from tests.hw.networks import Network

__all__ = ["digits_network", "two_layers"]


def digits_network(seed: int = 1) -> Graph:
    """Layers and shapes of ``nbqnn_train.models.digits``: 3-bit weights, 8-bit activations."""
    net = Network(seed=seed)
    net.add(Input, "image", shape=(1, 8, 8), bits=8, signed=False, exponent=-8)
    for number, (outputs, inputs, pool) in enumerate(((16, 1, 0), (32, 16, 1), (32, 32, 1))):
        net.conv(f"conv{number}", (outputs, inputs, 3, 3), 3, padding=(1, 1, 1, 1))
        net.requantize(f"act{number}", 8, False)
        if pool:
            net.add(MaxPool2d, f"pool{number}", kernel=(2, 2), stride=(2, 2))
    net.add(Flatten, "flat")
    net.linear("linear", 10, 3)
    net.requantize("logits", 8, True)
    return net.graph("logits")


def two_layers(*, act_bits: int, weight_bits: int, seed: int = 1) -> Graph:
    """A convolution and a linear layer, with hundreds of bytes of program."""
    net = Network(seed=seed)
    net.add(Input, "image", shape=(2, 4, 3), bits=act_bits, signed=False, exponent=-act_bits)
    net.conv("conv", (3, 2, 2, 2), weight_bits, stride=(2, 1))
    net.requantize("act", act_bits, False)
    net.add(Flatten, "flat")
    net.linear("linear", 4, weight_bits)
    net.requantize("logits", act_bits, True)
    return net.graph("logits")
