"""What is quantized at which step of a training."""

import math
from dataclasses import dataclass

__all__ = ["Phase", "Schedule"]

#: Training steps from one choice of the weights' exponents to the next.
_REFRESH_STEPS = 16
#: Share of the quantized steps, at their beginning, in which exponents are chosen anew.
_REFRESHED = 0.1
#: What λ lacks to 1 at the first step, for weights that begin as powers of two.
_ROUNDED_LEFT = 0.5


@dataclass(frozen=True)
class Phase:
    """What :class:`nbqnn_train.quant.mode.Mode` is at one step.

    calibrate : whether formats of activations are chosen before the step."""

    blend: float
    activations: bool
    frozen: bool
    refresh: bool
    calibrate: bool


@dataclass(frozen=True)
class Schedule:
    """What happens over ``steps`` steps.

    Each share is one of all steps.

    1. The first ``warmup`` of the steps has real weights and activations.
    2. Then activations are quantized, and λ rises as ``1 - (1 - t)**blend_power``, t = 0 ... 1.
    3. In the last ``settle`` of the steps λ is 1: weights stand still and biases follow. The
       learning rate of weights falls to 0 before.
    4. In the last ``freeze`` of the steps batch norm is frozen: it subtracts its running means, as
       in the exported graph.

    The exponents of weights are chosen in the first tenth of the quantized steps. Formats of
    activations are chosen at the beginning of that tenth and at its end.

    Weights that begin as powers of two (``rounded``) keep the exponents, formats and means that
    they were rounded with: nothing is chosen again, and batch norm is frozen from the first step.
    λ rises from one half, because these weights are near their levels already.

    The learning rate rises over the first ``rise`` of the steps. Then it falls to 0, as half a
    cosine or linearly (``fall``).
    """

    steps: int
    warmup: float
    freeze: float
    settle: float
    blend_power: float
    rounded: bool = False
    rise: float = 0.05
    fall: str = "cosine"

    @property
    def learn_step(self) -> int:
        """First step with quantization."""
        return math.floor(self.steps * self.warmup)

    @property
    def exponents_step(self) -> int:
        """First step after the share of steps in which exponents are chosen."""
        return self.learn_step + math.floor(_REFRESHED * (self.steps - self.learn_step)) + 1

    @property
    def freeze_step(self) -> int:
        """First step with batch norm frozen."""
        return max(self.steps - math.ceil(self.steps * self.freeze), self.learn_step)

    def estimates_means(self, step: int) -> bool:
        """Whether means of batch norm are estimated before ``step``; after the last step too."""
        return not self.rounded and step in (self.freeze_step, self.steps)

    @property
    def settle_step(self) -> int:
        """First step with λ = 1."""
        return max(self.steps - math.ceil(self.steps * self.settle), self.learn_step)

    def phase(self, step: int) -> Phase:
        if step < self.learn_step:
            return Phase(blend=0.0, activations=False, frozen=False, refresh=False, calibrate=False)
        if self.rounded:
            return Phase(
                blend=self._blend(step),
                activations=True,
                frozen=True,
                refresh=False,
                calibrate=False,
            )
        frozen = step >= self.freeze_step
        due = (step - self.learn_step) % _REFRESH_STEPS == 0
        return Phase(
            blend=self._blend(step),
            activations=True,
            frozen=frozen,
            refresh=not frozen and due and step < self.exponents_step,
            calibrate=step == self.learn_step or (not frozen and step == self.exponents_step),
        )

    def _blend(self, step: int) -> float:
        if step >= self.settle_step:
            return 1.0
        t = (step + 1 - self.learn_step) / (self.settle_step - self.learn_step + 1)
        left = (1 - t) ** self.blend_power
        return 1 - _ROUNDED_LEFT * left if self.rounded else 1 - left

    def learning_rate(self, step: int) -> float:
        """Factor of the learning rate: a linear rise, then down to 0."""
        return self._learning_rate(step, self.steps)

    def weight_learning_rate(self, step: int) -> float:
        """The same for weights, 0 from the step at which they stand still."""
        return self._learning_rate(step, self.settle_step)

    def _learning_rate(self, step: int, last: int) -> float:
        if step >= last:
            return 0.0
        rise = max(1, math.floor(self.steps * self.rise))
        if step < rise:
            return (step + 1) / (rise + 1)
        fallen = (step - rise) / (last - rise)
        return 1 - fallen if self.fall == "linear" else 0.5 * (1 + math.cos(math.pi * fallen))
