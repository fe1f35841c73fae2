"""A graph made by hand that takes the digits' images, so that no test here needs a training."""

import numpy as np

from nbqnn_train.graph import Conv2d, Flatten, Graph, Input, Linear, MaxPool2d, Requantize

__all__ = ["small_graph"]


def _requantize(name: str, source: str, channels: int) -> Requantize:
    return Requantize(
        name=name,
        input=source,
        multiplier=np.ones(channels, dtype=int),
        bias=np.arange(channels),
        shift=np.full(channels, 5),
        bits=8,
        signed=True,
        exponent=0,
        low=-128,
        high=127,
    )


def small_graph(shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10) -> Graph:
    """Convolution, pooling and a linear layer with fixed 3-bit weights."""
    channels, height, width = shape
    rng = np.random.default_rng(7)
    codes = np.array([0, 1, -1, 2, -2, 4, -4])
    features = 4 * (height // 2) * (width // 2)
    return Graph(
        nodes=(
            Input(name="image", shape=shape, bits=8, signed=True, exponent=-5),
            Conv2d(
                name="conv",
                input="image",
                weight=rng.choice(codes, (4, channels, 3, 3)),
                weight_bits=3,
                weight_exponent=np.zeros(4, dtype=int),
                padding=(1, 1, 1, 1),
                acc_bits=20,
            ),
            _requantize("conv_out", "conv", 4),
            MaxPool2d(name="pool", input="conv_out", kernel=(2, 2), stride=(2, 2)),
            Flatten(name="flat", input="pool"),
            Linear(
                name="linear",
                input="flat",
                weight=rng.choice(codes, (classes, features)),
                weight_bits=3,
                weight_exponent=np.zeros(classes, dtype=int),
                acc_bits=20,
            ),
            _requantize("logits", "linear", classes),
        ),
        outputs=("logits",),
    )
