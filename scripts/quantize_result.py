"""The result of ``quantize``: how near the integer graph is to full precision."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result

__all__ = ["QuantizeResult"]


@dataclass(frozen=True, kw_only=True)
class QuantizeResult(Result):
    """A network that was quantized without training.

    images : number of inputs that were used.
    nodes, weight_bytes : of the graph.
    agreement : share (0...1) of the inputs to which the graph gives the class that full precision
        gives; None where the output is no vector of classes.
    notes : notes of the conversion.
    accuracy, float_accuracy : of the graph and of the network in full precision, 0...1, on
        ``test_images`` of a data set.
    """

    kind: ClassVar[str] = "quantize"

    images: int
    nodes: int
    weight_bytes: int
    agreement: float | None
    notes: tuple[str, ...]
    accuracy: float | None = None
    float_accuracy: float | None = None
    test_images: int | None = None
