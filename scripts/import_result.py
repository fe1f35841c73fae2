"""The result of ``import``: a graph, notes, and a comparison with the model."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result
from nbqnn_train.qonnx.verify import Difference

__all__ = ["ImportResult"]


@dataclass(frozen=True, kw_only=True)
class ImportResult(Result):
    """A model that was imported.

    nodes : number of nodes of the graph.
    notes : what was approximated or left out.
    images, values : how many were compared with the model; None without a comparison.
    mismatches : number of values that differ.
    first_mismatch : the first difference.
    verified : the result of the comparison, as a sentence.
    """

    kind: ClassVar[str] = "import"

    nodes: int
    notes: tuple[str, ...]
    images: int | None = None
    values: int | None = None
    mismatches: int | None = None
    first_mismatch: Difference | None = None
    verified: str | None = None
