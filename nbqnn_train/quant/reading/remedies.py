"""What to use instead of operators that have no integer form."""

from nbqnn_train.quant.reading.refusals import Unsupported

__all__ = ["unsupported_operator"]

_CLASS = "keep it for the end of the network, along channels; within it use a sigmoid"
_LARGEST = "leave it out: nbqnn predict shows the largest values with their classes"
_PARTS = "concatenate parts with torch.cat in place of writing into a tensor"
_NORM = "train with BatchNorm in its place"
_RESIZE = "enlarge with nearest, bilinear or bicubic"
_MAPS = "use maps (C, H, W) and two-dimensional layers"
_CONVOLUTIONS = "use convolutions in its place"

_REMEDIES = {
    "softmax": _CLASS,
    "log_softmax": _CLASS,
    "argmax": _LARGEST,
    "max": _LARGEST,
    "min": _LARGEST,
    "topk": _LARGEST,
    "sort": _LARGEST,
    **dict.fromkeys(
        ("copy", "fill", "select_scatter", "slice_scatter", "index_put", "scatter"), _PARTS
    ),
    "layer_norm": _NORM,
    "native_layer_norm": _NORM,
    "group_norm": _NORM,
    "native_group_norm": _NORM,
    "instance_norm": _NORM,
    "rms_norm": _NORM,
    "local_response_norm": _NORM,
    "linalg_vector_norm": "at the end, return the vector itself and divide it by its norm on the "
    "host; within the network train with BatchNorm in its place",
    "grid_sampler": _RESIZE,
    "grid_sampler_2d": _RESIZE,
    "conv3d": _MAPS,
    "conv_transpose3d": _MAPS,
    "max_pool3d": _MAPS,
    "avg_pool3d": _MAPS,
    "batch_norm3d": _MAPS,
    "scaled_dot_product_attention": _CONVOLUTIONS,
    "bmm": _CONVOLUTIONS,
    "lstm": _CONVOLUTIONS,
    "gru": _CONVOLUTIONS,
    "rnn_tanh": _CONVOLUTIONS,
    "embedding": "embed before the network, and give it the vectors",
    "dropout": "give it training=self.training, so that evaluation has none",
    "wrap_with_set_grad_enabled": "leave torch.no_grad out of the forward; what is not to learn "
    "has requires_grad_(False)",
    "wrap_with_autocast": "leave torch.autocast out of the forward",
    "einsum": "use convolutions or linear layers in its place",
}


def unsupported_operator(name: str) -> Unsupported:
    """The refusal of an operator."""
    remedy = _REMEDIES.get(name, "train without it")
    return Unsupported(f"{name} has no integer form", remedy)
