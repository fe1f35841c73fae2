"""What a training found."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbqnn_train.graph.results import Evaluation, Result, ResultError

__all__ = ["WHOLE", "LayerCourse", "TrainingCourse", "TrainingResult", "packed_shares"]

#: What the share 1 is as a number of 16 bits.
WHOLE = 65535


@dataclass(frozen=True, kw_only=True)
class TrainingResult(Evaluation):
    """The accuracy of the network as it is exported, and what was trained.

    epochs : that were done.
    seconds : of the call that ended the training.
    best_epoch, validation_accuracy : where a training may stop early: the epoch whose weights are
        kept, and its accuracy (0...1) on the images for validation.
    full_precision : True if nothing was quantized, else None.
    float_accuracy : of the weights that a quantized training began with, on the same
        images, before anything was quantized; None where it began with none.
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
    full_precision: bool | None = None
    float_accuracy: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LayerCourse:
    """A layer on its way to the staircase, and what quantization did to it.

    bits : of its weights.
    positions : on the staircase, of the bins of its histograms; see
        :func:`nbqnn_train.learn.histograms.staircase`.
    histograms : :func:`packed_shares` of the histograms.
    weight_error, error : ``|quantized - real| / |real|`` of its weights and of its activation; None
        where all is zero in full precision.
    """

    name: str
    bits: int
    positions: tuple[float, ...]
    histograms: str
    weight_error: float | None = None
    error: float | None = None

    @property
    def shares(self) -> np.ndarray:
        """The share of the weights in each bin, (moments, positions).

        Raises :class:`ResultError` for a damaged text.
        """
        try:
            packed = np.frombuffer(base64.b64decode(self.histograms, validate=True), "<u2")
            return packed.reshape(-1, len(self.positions)) / WHOLE
        except ValueError as error:
            raise ResultError(f"histograms of {self.name!r} are damaged: {error}") from None


def packed_shares(counts: Sequence[Sequence[int]]) -> str:
    """Histograms as text: of each the shares of its whole, as base64 of 16 bits each, the lower
    byte first."""
    rows = np.array(counts, np.float64).reshape(len(counts), -1 if counts else 1)
    shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    return base64.b64encode(np.round(WHOLE * shares).astype("<u2").tobytes()).decode()


@dataclass(frozen=True, kw_only=True)
class TrainingCourse(Result):
    """The moments of a training at which weights were counted, and its layers.

    epochs, blends : of each moment, the epoch (from 1) and λ.
    errors : of all nodes' activations, by their names; as in :class:`LayerCourse`.
    images : training images from which errors of activations were computed.
    """

    kind: ClassVar[str] = "course"

    epochs: tuple[int, ...]
    blends: tuple[float, ...]
    layers: tuple[LayerCourse, ...]
    errors: dict[str, float | None]
    images: int
