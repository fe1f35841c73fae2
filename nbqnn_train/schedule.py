"""What is quantized at which step of a training."""

import math
from dataclasses import dataclass

__all__ = ["Phase", "Schedule"]

#: Training steps between two choices of the weights' exponents.
_REFRESH_STEPS = 16
#: Share of the steps over which the learning rate rises.
_RISE = 0.05


@dataclass(frozen=True)
class Phase:
    """What :class:`nbqnn_train.quant.mode.Mode` is at one step."""

    blend: float
    activations: bool
    folded: bool
    refresh: bool


@dataclass(frozen=True)
class Schedule:
    """Three phases over ``steps`` steps.

    1. the first ``warmup`` of the steps: real weights, real activations;
    2. quantized activations, weights blended with lambda = 1 - (1 - t)**3, t = 0 ... 1 over the phase;
    3. the last ``fold`` of the steps: lambda = 1 and batch norm folded, as in the exported graph.
    """

    steps: int
    warmup: float
    fold: float

    @property
    def learn_step(self) -> int:
        """First step of phase 2."""
        return math.floor(self.steps * self.warmup)

    @property
    def fold_step(self) -> int:
        """First step of phase 3."""
        return max(self.steps - math.ceil(self.steps * self.fold), self.learn_step)

    def phase(self, step: int) -> Phase:
        if step < self.learn_step:
            return Phase(blend=0.0, activations=False, folded=False, refresh=False)
        if step >= self.fold_step:
            return Phase(blend=1.0, activations=True, folded=True, refresh=False)
        t = (step + 1 - self.learn_step) / (self.fold_step - self.learn_step + 1)
        return Phase(
            blend=1 - (1 - t) ** 3,
            activations=True,
            folded=False,
            refresh=(step - self.learn_step) % _REFRESH_STEPS == 0,
        )

    def learning_rate(self, step: int) -> float:
        """Factor of the learning rate: a linear rise, then half a cosine down to 0."""
        rise = max(1, math.floor(self.steps * _RISE))
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))
