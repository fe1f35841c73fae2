"""The phase that all layers of one network share while they train."""

from dataclasses import dataclass

__all__ = ["Mode"]


@dataclass
class Mode:
    """Read by every layer of a network; evaluation (``module.eval()``) ignores all of it.

    blend : the lambda of the weights, 0 (latent) ... 1 (power of two).
    activations : whether activations are quantized.
    folded : whether batch norm is frozen and folded into requantizers, as in the exported graph.
    refresh : whether training steps choose the weights' exponents anew while batch norm is not
        folded.
    calibrating : activations stay real and their ranges are recorded.
    """

    blend: float = 1.0
    activations: bool = True
    folded: bool = False
    refresh: bool = True
    calibrating: bool = False
