"""One training as a Lightning module: what all share, and the phases of a quantized one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.memory_format import in_fast_layout
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.learn.recipes import Recipe
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quantized_training import Phases, divided_parameters

__all__ = ["ParameterGroup", "QuantizedTrainingModule", "TrainingModule"]

#: A whole epoch whose losses are so many times that of equal outputs for all classes diverged.
_FAR = 10
_MOMENTUM = 0.9
_TEMPERATURE = 4.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with their weight decay and, by the step, the factor of their learning rate."""

    parameters: list[nn.Parameter]
    decay: float
    rate: Callable[[int], float]


def _weights_and_others(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights, and vectors such as biases and what batch norm learns."""
    weights, others = [], []
    for parameter in network.parameters():
        (weights if parameter.dim() > 1 else others).append(parameter)
    return weights, others


class TrainingModule(lightning.LightningModule):
    """Trains ``network``, any module from images to logits.

    schedule : of the learning rate.
    teacher : full-precision network to distil from (Hinton et al., arXiv 1503.02531), or None.
    teacher_weight : the teacher's share of the loss, above 0 and at most 1; unused without one.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        schedule: Schedule,
        *,
        classes: int,
        seed: int,
        teacher: nn.Module | None = None,
        teacher_weight: float,
    ):
        super().__init__()
        self.network = in_fast_layout(network)
        self.recipe = recipe
        self.schedule = schedule
        self.classes = classes
        self.seed = seed
        self._least: Tensor | None = None
        # Neither trained nor saved: a list hides it from the module's own parameters.
        self._teacher = (
            [] if teacher is None else [in_fast_layout(teacher.eval().requires_grad_(False))]
        )
        self.teacher_weight = teacher_weight
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    @property
    def ready(self) -> bool:
        """Whether the network can be evaluated."""
        return True

    @property
    def ends_unevaluated(self) -> bool:
        """Whether the loop leaves out the last epoch's accuracy: it is that of the test images, of
        which the exact one is computed right after the loop."""
        return self.trainer.datamodule.data.validation is None

    @property
    def _in_last_epoch(self) -> bool:
        return self.trainer.current_epoch == self.trainer.max_epochs - 1

    @property
    def averaged(self) -> range:
        """Steps whose weights are averaged, where an average is wanted: to the end."""
        return range(self.schedule.steps)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        # Dropout after a resume is what it would have been without the interruption. Seeding once
        # an epoch is not enough: the loop draws numbers of its own, at other places after a resume.
        # Processes differ, because each sees other images.
        numbers = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self._loss(*batch)
        if not torch.isfinite(loss):
            raise NbqnnError(self._not_finite(loss.item()))
        least = loss.detach()
        self._least = least if self._least is None else torch.minimum(self._least, least)
        self.log("loss", loss, prog_bar=True)
        self.log("lr", self.optimizers().param_groups[0]["lr"])
        return loss

    def on_train_epoch_start(self) -> None:
        self._least = None

    def on_train_epoch_end(self) -> None:
        """Raises :class:`NbqnnError` where every loss was far above that of knowing nothing."""
        if self._least is None:  # resumed behind the last batch
            return
        least = float(self.trainer.strategy.reduce(self._least))
        share = self.teacher_weight if self._teacher else 0.0
        # Of the teacher's part it is a bound: no distribution is further from the even one.
        equal = (1 - share + share * _TEMPERATURE**2) * math.log(max(self.classes, 2))
        if least > _FAR * equal:
            raise NbqnnError(
                f"Training must not diverge: no loss of epoch {self.current_epoch + 1} is below "
                f"{least:.3g}, and equal outputs for all {self.classes} classes have "
                f"{equal:.3g}; {self._kept}a smaller learning rate helps"
            )

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        return self._distilled(loss, logits, images) if self._teacher else loss

    @property
    def _kept(self) -> str:
        return "the last checkpoint is kept, " if self.current_epoch else ""

    def _not_finite(self, loss: float) -> str:
        """What to say of such a loss."""
        if self.global_step == 0:
            return (
                f"Loss must be finite before the first step, not {loss}: nothing was learned yet, "
                "so the weights that training begins with, the images or the precision give it"
            )
        return (
            f"Training must not diverge: the loss is {loss} in epoch {self.current_epoch}, after "
            f"step {self.global_step}; {self._kept}a smaller learning rate helps"
        )

    def _distilled(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        teacher = self._teacher[0].to(self.device)
        with torch.no_grad():
            targets = F.log_softmax(teacher(images) / _TEMPERATURE, dim=1)
        student = F.log_softmax(logits / _TEMPERATURE, dim=1)
        soft = F.kl_div(student, targets, reduction="batchmean", log_target=True)
        share = self.teacher_weight
        return (1 - share) * loss + share * _TEMPERATURE**2 * soft

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy of the network as it would be exported."""
        images, labels = batch
        if not self.ready or (self.ends_unevaluated and self._in_last_epoch):
            return
        if len(labels):  # the last batch can be too small for every process to have a share
            self.accuracy.update(self.network(images), labels)
        self.log("accuracy", self.accuracy, prog_bar=True, on_epoch=True, batch_size=len(labels))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights decay, others do not. All learn to the end."""
        rate = self.schedule.learning_rate
        weights, others = _weights_and_others(self.network)
        return [
            ParameterGroup(weights, self.recipe.weight_decay, rate),
            ParameterGroup(others, 0.0, rate),
        ]

    def configure_optimizers(self):
        kinds = self.parameter_groups()
        groups = [{"params": kind.parameters, "weight_decay": kind.decay} for kind in kinds]
        if self.recipe.optimizer == "adam":
            optimizer = torch.optim.AdamW(groups, lr=self.recipe.lr)
        else:
            optimizer = torch.optim.SGD(
                groups, lr=self.recipe.lr, momentum=_MOMENTUM, nesterov=True
            )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [kind.rate for kind in kinds])
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


class QuantizedTrainingModule(TrainingModule):
    """Trains a quantized network through the phases of ``schedule``.

    calibration : inputs from which formats are taken, and means when batch norm is frozen.
    """

    network: QuantNetwork

    def __init__(self, network: QuantNetwork, *arguments, calibration: list[Tensor], **options):
        super().__init__(network, *arguments, **options)
        self.calibration = calibration
        self.phases = Phases(self.network, self.schedule, calibration)
        self._entered: int | None = None

    @property
    def ready(self) -> bool:
        return self.network.calibrated

    @property
    def averaged(self) -> range:
        """Since exponents stay, until weights stand still."""
        schedule = self.schedule
        first = 0 if schedule.rounded else schedule.exponents_step
        return range(min(first, schedule.settle_step), schedule.settle_step)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Gamma stands still with the weights if it is projected with them."""
        parts = divided_parameters(self.network)
        still = self.schedule.weight_learning_rate
        return [
            ParameterGroup(parts.weights, self.recipe.weight_decay, still),
            ParameterGroup(parts.projected, 0.0, still),
            ParameterGroup(parts.others, 0.0, self.schedule.learning_rate),
        ]

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        step = self.global_step
        if step == self._entered:  # a further batch of the same step
            return
        self._entered = step
        self.phases.enter(step)

    def on_train_batch_end(self, outputs, batch, batch_idx: int) -> None:
        """Takes means again at the end: biases have learned since batch norm was frozen."""
        if self.global_step == self.schedule.steps:
            self.phases.finish()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("lambda", self.network.mode.blend)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Lets steps grow as the derivative 1 - λ of the blend shrinks."""
        self.phases.grow_gradients()
