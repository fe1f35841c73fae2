"""The phase that all layers of one network share while they train."""

from dataclasses import dataclass

__all__ = ["Mode"]


@dataclass
class Mode:
    """Read by every layer of a network; evaluation (``module.eval()``) ignores all of it.

    blend : λ of the weights, 0 (latent) ... 1 (power of two). Above 0 the scale of batch
        norm is folded into the weights and stays; the batch's mean is subtracted.
    activations : whether activations are quantized.
    frozen : whether the running mean is subtracted instead, as in the exported graph.
    refresh : whether training steps with quantized weights choose their exponents anew.
    settled : whether weights stand still where blend is 1, as at the end of a schedule. Without a
        schedule they learn: the gradient passes straight through to the latent weights.
    calibrating : activations stay real and their ranges are recorded.
    """

    blend: float = 1.0
    activations: bool = True
    frozen: bool = False
    refresh: bool = True
    settled: bool = False
    calibrating: bool = False
