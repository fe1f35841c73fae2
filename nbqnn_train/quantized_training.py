"""Quantized training in one's own loop: one object to step."""

from dataclasses import dataclass

import torch
from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.phases import Phase, Schedule
from nbqnn_train.quant.affine import AffineNorm
from nbqnn_train.quant.calibration import calibrate_network, estimate_means
from nbqnn_train.quant.inputs import Batches, read_inputs
from nbqnn_train.quant.network import QuantNetwork

__all__ = [
    "DividedParameters",
    "Phases",
    "QuantizedTraining",
    "divided_parameters",
    "parameter_groups",
]

#: Steps grow by at most this factor while the blend's derivative shrinks.
_LARGEST_STEP_GROWTH = 1e3
#: Inputs that formats and means are taken from.
_INPUTS = 1024


@dataclass(frozen=True)
class DividedParameters:
    """The parameters of a network by what becomes of them.

    weights : matrices and kernels; they stand still once λ is 1.
    projected : factors of batch norm that are projected with them, and stand still with them.
    others : biases and the rest; they learn to the end.
    """

    weights: list[nn.Parameter]
    projected: list[nn.Parameter]
    others: list[nn.Parameter]


def divided_parameters(network: QuantNetwork) -> DividedParameters:
    """The parameters of ``network`` in three parts."""
    layers = network.weighted_layers().values()
    norms = [layer.norm for layer in layers if layer.shift_mode and layer.norm is not None]
    gammas = {norm.scale if isinstance(norm, AffineNorm) else norm.weight for norm in norms}
    weights = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return DividedParameters(
        weights,
        [p for p in vectors if p in gammas],
        [p for p in vectors if p not in gammas],
    )


def parameter_groups(network: QuantNetwork, weight_decay: float = 0.0) -> list[dict]:
    """Groups for an optimizer: weights with ``weight_decay``, what stands still with them, and what
    learns to the end. :class:`QuantizedTraining` gives each its learning rate."""
    parts = divided_parameters(network)
    groups = [
        {"params": parts.weights, "weight_decay": weight_decay},
        {"params": parts.projected, "weight_decay": 0.0},
        {"params": parts.others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Phases:
    """Brings a network into the phase of a step.

    inputs : from which formats and, where batch norm is frozen, means are taken: tensors, or tuples
        of them where the network takes several.
    """

    def __init__(self, network: QuantNetwork, schedule: Schedule, inputs: list):
        self.network = network
        self.schedule = schedule
        self.inputs = inputs

    def enter(self, step: int) -> None:
        """Before the forward pass of ``step``, counted from 0."""
        phase = self.schedule.phase(step)
        self.set_mode(phase)
        if self.schedule.estimates_means(step):
            estimate_means(self.network, self._inputs())
        if phase.calibrate:
            calibrate_network(self.network, self._inputs())

    def set_mode(self, phase: Phase) -> None:
        mode = self.network.mode
        mode.blend, mode.activations = phase.blend, phase.activations
        mode.frozen, mode.refresh = phase.frozen, phase.refresh
        mode.settled = phase.blend == 1

    def finish(self) -> None:
        """After the last step: means follow what was learned since batch norm was frozen."""
        if self.schedule.estimates_means(self.schedule.steps):
            estimate_means(self.network, self._inputs())

    def grow_gradients(self) -> None:
        """Lets steps grow as the derivative 1 - λ of the blend shrinks."""
        blend = self.network.mode.blend
        if blend == 1:
            return
        growth = min(1 / (1 - blend), _LARGEST_STEP_GROWTH)
        for layer in self.network.weighted_layers().values():
            if layer.estimator.grows_steps and layer.weight.grad is not None:
                layer.weight.grad.mul_(growth)

    def _inputs(self) -> list:
        device = next(self.network.parameters(), torch.zeros(())).device
        return [
            tuple(part.to(device) for part in batch)
            if isinstance(batch, tuple)
            else batch.to(device)
            for batch in self.inputs
        ]


class QuantizedTraining:
    """Takes a network from full precision to powers of two over the steps of any loop::

        network = convert(module, QuantConfig(weight_bits=3)).train()
        optimizer = torch.optim.SGD(parameter_groups(network, 1e-4), lr=0.01, momentum=0.9)
        training = QuantizedTraining(network, optimizer, steps=epochs * len(loader), batches=loader)
        for images, labels in ...:
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            training.step()

    ``step`` is the optimizer's step with what belongs before and after it: gradients grow as the
    blend's derivative shrinks, then the next phase begins, with formats chosen and means estimated
    where the schedule says so (:class:`nbqnn_train.learn.phases.Schedule`). Where something else
    calls the optimizer (Lightning, a gradient scaler, gradients to be clipped), call
    :meth:`scale_gradients` before its step and :meth:`advance` after it. Evaluate at any time with
    ``network.eval()``, which computes what is exported, and go on with ``network.train()``.

    Parameters
    ----------
    network : what ``convert`` or ``quantize`` returned; on its device already.
    optimizer : of its parameters, best of :func:`parameter_groups`; None where learning rates and
        steps are somebody else's.
    steps : of the whole training, at least 1.
    batches : inputs, or pairs of inputs and labels, for formats and means; at most 1024 are read.
    warmup, freeze, settle, blend_power : see :class:`nbqnn_train.learn.phases.Schedule`.
    rounded : for what ``quantize`` returned: its exponents, formats and means stay.
    sets_rates : whether learning rates rise and fall with the schedule, from the optimizer's.

    Raises :class:`NbqnnError` for numbers out of range, and for batches that are no inputs of the
    network.
    """

    def __init__(
        self,
        network: QuantNetwork,
        optimizer: torch.optim.Optimizer | None,
        *,
        steps: int,
        batches: Batches,
        warmup: float = 0.0,
        freeze: float = 0.05,
        settle: float = 0.1,
        blend_power: float = 3.0,
        rounded: bool = False,
        sets_rates: bool = True,
    ):
        if not isinstance(network, QuantNetwork):
            raise TypeError(f"Network must come from convert, not be {type(network).__name__}")
        if type(steps) is not int or steps < 1:
            raise NbqnnError(f"Steps must be at least 1, not {steps!r}")
        for name, share in (("warmup", warmup), ("freeze", freeze), ("settle", settle)):
            if not 0 <= share < 1:
                raise NbqnnError(f"Share of the steps for {name} must be in [0, 1), not {share!r}")
        if not 1 <= blend_power <= 16:
            raise NbqnnError(f"Blend power must be in 1..16, not {blend_power!r}")
        self.network = network
        self.optimizer = optimizer
        #: Steps that were done.
        self.done = 0
        schedule = Schedule(steps, warmup, freeze, settle, blend_power, rounded)
        self._phases = Phases(network, schedule, read_inputs(network, batches, _INPUTS))
        parts = divided_parameters(network)
        self._still = [*parts.weights, *parts.projected]
        self._sets_rates = sets_rates and optimizer is not None
        if self._sets_rates:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
            self._set_rates()
        self._phases.enter(0)

    def step(self) -> None:
        """One step of the optimizer, and on to the next phase."""
        self.scale_gradients()
        self.optimizer.step()
        self.advance()

    def scale_gradients(self) -> None:
        """After the backward pass: gradients of weights grow as the blend's derivative shrinks.
        Those of weights that stand still are dropped, so that nothing moves them."""
        if self.network.mode.blend < 1:
            self._phases.grow_gradients()
            return
        for parameter in self._still:
            parameter.grad = None

    def advance(self) -> None:
        """After the optimizer's step: learning rates, and the phase of the next step."""
        if self.done == self._phases.schedule.steps:
            raise NbqnnError(f"Training must not go on after its {self.done} steps")
        self.done += 1
        if self.done == self._phases.schedule.steps:
            self._phases.finish()
        else:
            self._phases.enter(self.done)
        if self._sets_rates:
            self._set_rates()

    def _set_rates(self) -> None:
        schedule, still = self._phases.schedule, set(map(id, self._still))
        for group in self.optimizer.param_groups:
            stands = all(id(parameter) in still for parameter in group["params"])
            rate = schedule.weight_learning_rate if stands else schedule.learning_rate
            group["lr"] = group["initial_lr"] * rate(self.done)

    def state_dict(self) -> dict:
        """What a checkpoint needs beside those of the network and the optimizer."""
        return {"done": self.done}

    def load_state_dict(self, state: dict) -> None:
        """Goes on where ``state`` was taken; load the network's state first."""
        self.done = state["done"]
        schedule = self._phases.schedule
        self._phases.set_mode(schedule.phase(min(self.done, schedule.steps - 1)))
        if self._sets_rates:
            self._set_rates()
