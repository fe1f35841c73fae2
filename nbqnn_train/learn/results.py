"""What a training found."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Evaluation

__all__ = ["TrainingResult"]


@dataclass(frozen=True, kw_only=True)
class TrainingResult(Evaluation):
    """The accuracy of the network as it is exported, and what was trained.

    epochs : that were done.
    seconds : of the call that ended the training.
    best_epoch, validation_accuracy : where a training may stop early: the epoch whose weights are
        kept, and its accuracy (0...1) on the images for validation.
    notes : of the conversion.
    """

    kind: ClassVar[str] = "train"

    model: str
    data: str
    epochs: int
    seed: int
    seconds: float
    best_epoch: int | None = None
    validation_accuracy: float | None = None
    notes: tuple[str, ...] = ()
