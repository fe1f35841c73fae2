"""The ranges that the contract allows, in one place; ``SPEC.md`` states them too."""

__all__ = [
    "ACC_BITS",
    "ACT_BITS",
    "ADD_SHIFT",
    "AVG_MULTIPLIER",
    "AVG_SHIFT",
    "BIAS",
    "DILATION",
    "EXPONENT",
    "FACTOR",
    "FINAL",
    "KERNEL",
    "MAX_DIMENSION",
    "MAX_ELEMENTS",
    "MAX_FEATURES",
    "MAX_NAME",
    "MAX_NODES",
    "MAX_OPERANDS",
    "MULTIPLIER",
    "PADDING",
    "REQUANT_SHIFT",
    "SHARE",
    "STRIDE",
    "WEIGHT_BITS",
    "max_weight",
]

#: Width of activations.
ACT_BITS = (2, 16)
#: Bits of a stored weight, sign included.
WEIGHT_BITS = (2, 6)
#: Width of accumulators, sign included.
ACC_BITS = (2, 48)
#: Binary exponent of activations and of weights.
EXPONENT = (-128, 127)
#: Requantizer.
MULTIPLIER = (1, (1 << 16) - 1)
BIAS = (-(1 << 47), (1 << 47) - 1)
REQUANT_SHIFT = (0, 47)
#: Left shift of an operand of Add.
ADD_SHIFT = (0, 31)
#: One over the window's size is ``multiplier / 2**shift``.
AVG_MULTIPLIER = (1, 1 << 8)
AVG_SHIFT = (0, 31)
#: Of a neighbour in Interpolate2d.
SHARE = (-(1 << 9), 1 << 9)
#: Operands of a Sum.
MAX_OPERANDS = 64
#: Factors of resizing, and sizes of the blocks of pixel shuffles.
FACTOR = (1, 1 << 8)
#: Windows.
KERNEL = (1, 1 << 16)
STRIDE = (1, 1 << 16)
DILATION = (1, 1 << 16)
PADDING = (0, 1 << 16)
#: Channels, height and width of feature maps.
MAX_DIMENSION = 1 << 16
#: Length of vectors.
MAX_FEATURES = 1 << 24
#: Elements of one tensor, without the batch.
MAX_ELEMENTS = 1 << 30
#: Nodes of a graph and characters of a name.
MAX_NODES = 1 << 16
MAX_NAME = 200

#: What may be applied after an output, outside of the graph: along channels, or along features.
FINAL = ("none", "softmax", "log_softmax", "sigmoid", "argmax")


def max_weight(weight_bits: int) -> int:
    """Largest magnitude of a weight code of ``weight_bits``: 1, 4, 64, 2**14, 2**30."""
    return 1 << ((1 << (weight_bits - 1)) - 2)
