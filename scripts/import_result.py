"""What ``import`` found: a graph, what was noted, and how it compares with the model."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result
from nbqnn_train.qonnx.verify import Difference

__all__ = ["ImportResult"]


@dataclass(frozen=True, kw_only=True)
class ImportResult(Result):
    """A model that was imported.

    nodes : of the graph.
    notes : what was approximated or left out.
    images, values : that were compared with the model; None if none were.
    mismatches : of the values.
    first_mismatch : the first of them.
    verified : what the comparison found, as a sentence.
    """

    kind: ClassVar[str] = "import"

    nodes: int
    notes: tuple[str, ...]
    images: int | None = None
    values: int | None = None
    mismatches: int | None = None
    first_mismatch: Difference | None = None
    verified: str | None = None
