"""What to do in place of an operator that has no integer form."""

from nbqnn_train.quant.reading.refusals import Unsupported

__all__ = ["unsupported_operator"]

_RELU = "train with ReLU in its place"
_RELU6 = "train with ReLU6 in its place"
_CLASS = "leave it out: the largest value stays the largest"
_NORM = "train with BatchNorm in its place"
_SPLIT = "compute the parts with layers of their own, or return the whole"
_UPSAMPLE = "leave enlarging maps to what follows the network"
_PRODUCT = "train without it: sums and concatenations of maps are supported, products are not"
_WINDOW = "use zeros around the map, or none"

_REMEDIES = {
    "sigmoid": _RELU6,
    "tanh": _RELU6,
    "silu": _RELU,
    "gelu": _RELU,
    "elu": _RELU,
    "celu": _RELU,
    "selu": _RELU,
    "mish": _RELU,
    "softplus": _RELU,
    "prelu": _RELU,
    "leaky_relu": _RELU,
    "rrelu_with_noise": _RELU,
    "rrelu": _RELU,
    "logsigmoid": _RELU,
    "hardswish": _RELU6,
    "hardsigmoid": _RELU6,
    "softmax": _CLASS,
    "log_softmax": _CLASS,
    "argmax": _CLASS,
    "layer_norm": _NORM,
    "native_layer_norm": _NORM,
    "group_norm": _NORM,
    "native_group_norm": _NORM,
    "instance_norm": _NORM,
    "rms_norm": _NORM,
    "local_response_norm": _NORM,
    "linalg_vector_norm": _NORM,
    "chunk": _SPLIT,
    "split": _SPLIT,
    "split_with_sizes": _SPLIT,
    "tensor_split": _SPLIT,
    "unbind": _SPLIT,
    "index": _SPLIT,
    "conv_transpose2d": _UPSAMPLE,
    "conv_transpose1d": _UPSAMPLE,
    "upsample_nearest2d": _UPSAMPLE,
    "upsample_bilinear2d": _UPSAMPLE,
    "upsample_bicubic2d": _UPSAMPLE,
    "upsample_nearest1d": _UPSAMPLE,
    "upsample_linear1d": _UPSAMPLE,
    "pixel_shuffle": _UPSAMPLE,
    "pixel_unshuffle": "use a convolution with a stride in its place",
    "channel_shuffle": "train without it, or with a convolution of 1 x 1 in its place",
    "reflection_pad2d": _WINDOW,
    "replication_pad2d": _WINDOW,
    "reflection_pad1d": _WINDOW,
    "replication_pad1d": _WINDOW,
    "conv3d": "use maps (C, H, W) and two-dimensional layers",
    "max_pool3d": "use maps (C, H, W) and two-dimensional layers",
    "avg_pool3d": "use maps (C, H, W) and two-dimensional layers",
    "batch_norm3d": "use maps (C, H, W) and two-dimensional layers",
    "scaled_dot_product_attention": "use convolutions in its place",
    "bmm": "use convolutions in its place",
    "lstm": "use convolutions in its place",
    "gru": "use convolutions in its place",
    "rnn_tanh": "use convolutions in its place",
    "embedding": "embed before the network, and give it the vectors",
    "dropout": "give it training=self.training, so that evaluation has none",
    "wrap_with_set_grad_enabled": "leave torch.no_grad out of the forward; what is not to learn "
    "has requires_grad_(False)",
    "wrap_with_autocast": "leave torch.autocast out of the forward",
    "sum": "use the mean in its place",
    "einsum": "use convolutions or linear layers in its place",
    "multiply": _PRODUCT,
    "mul": _PRODUCT,
}


def unsupported_operator(name: str) -> Unsupported:
    """The refusal of an operator."""
    remedy = _REMEDIES.get(name, "train without it")
    return Unsupported(f"{name} has no integer form", remedy)
