"""The result of ``predict``: classes of images."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result, named

__all__ = ["ImageClasses", "PredictedClass", "PredictionResult"]


@dataclass(frozen=True, kw_only=True)
class PredictedClass:
    """A class with its score.

    number : number of the output.
    name : name of the class; its number if it has no name.
    score : 0...1.
    output : the real value that the network gives.
    """

    number: int = named("class")
    name: str
    score: float
    output: float


@dataclass(frozen=True, kw_only=True)
class ImageClasses:
    """The best classes of an image, best first.

    image : its file; ``FILE[index]`` for one of an array.
    """

    image: str
    classes: tuple[PredictedClass, ...]


@dataclass(frozen=True, kw_only=True)
class PredictionResult(Result):
    """Classes of images.

    by : "interpreter", "accelerator" or "circuit".
    score : how scores come from outputs: "softmax" or "sigmoid".
    cycles_per_image, microseconds_per_image, clock_mhz : those of the accelerator, by the cycle
        model, or from one image to the next in the circuit.
    mismatches : images with an output of the hardware that differs from the interpreter's.
    """

    kind: ClassVar[str] = "predict"

    by: str
    score: str
    predictions: tuple[ImageClasses, ...]
    cycles_per_image: float | None = None
    microseconds_per_image: float | None = None
    clock_mhz: int | None = None
    mismatches: int | None = None
