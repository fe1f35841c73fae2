"""What stands between the latent weight and the loss: the weight that the forward pass uses.

Every estimator maps the latent weight ``w``, its projection ``q = Q(w)`` (a constant for autograd,
because the projection is piecewise constant) and the blend ``lam`` in 0 ... 1 to the weight of the
layer.
"""

from collections.abc import Callable

from torch import Tensor

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["ESTIMATORS", "Estimator", "estimator", "reconstructed", "straight_through"]

Estimator = Callable[[Tensor, Tensor, float], Tensor]


def reconstructed(latent: Tensor, quantized: Tensor, lam: float) -> Tensor:
    """``(1 - lam) * w + lam * Q(w)`` with its true derivative ``1 - lam``.

    While ``lam`` < 1 the gradient is that of the function that was computed, and not zero. The
    factor shrinks as the blend approaches the staircase; the training loop divides it out of the
    step size (see :mod:`nbqnn_train.schedule`). Source of the blend: Chen et al., arXiv 2004.02396;
    the schedule of ``lam`` and the step size are ours.
    """
    if lam == 0:
        return latent
    return latent + lam * (quantized.detach() - latent)


def straight_through(latent: Tensor, quantized: Tensor, lam: float) -> Tensor:
    """``Q(w)`` with the derivative of the identity, from the first step at which ``lam`` > 0.

    Source: Bengio, Leonard, Courville, arXiv 1308.3432.
    """
    if lam == 0:
        return latent
    return latent + (quantized - latent).detach()


ESTIMATORS: dict[str, Estimator] = {"reconstructed": reconstructed, "ste": straight_through}


def estimator(name: str) -> Estimator:
    """The estimator called ``name``."""
    if name not in ESTIMATORS:
        raise NbqnnError(f"Estimator must be one of {', '.join(ESTIMATORS)}, not {name!r}")
    return ESTIMATORS[name]
