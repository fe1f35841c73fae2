"""The result of ``search``: widths of layers, and what comes of them."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result

__all__ = ["LayerRow", "SearchPoint", "SearchResult"]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A layer: the path of its module, its number of weights, and for each width (as text) how
    much further off the outputs are than with the widest weights."""

    path: str
    weights: int
    distances: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SearchPoint:
    """A quantized network.

    name : also of its graph in the folder, and of its options for training (``NAME.toml``).
    widths : bits of each layer's weights, by its path.
    weight_bytes : of these weights, packed.
    distance : by the layers' sensitivities.
    agreement : share (0...1) of inputs that were not used with the class of full precision.
    accuracy : of the graph on the test images of a data set, 0...1.
    """

    name: str
    widths: dict[str, int]
    weight_bytes: int
    distance: float
    agreement: float
    accuracy: float | None = None

    def beats(self, other: "SearchPoint") -> bool:
        """Whether it is as good in bytes and agreement, and better in one of them."""
        mine, others = (self.weight_bytes, -self.agreement), (other.weight_bytes, -other.agreement)
        return mine != others and all(a <= b for a, b in zip(mine, others, strict=True))


@dataclass(frozen=True, kw_only=True)
class SearchResult(Result):
    """A search for widths.

    layers : how much each suffers.
    points : the networks that were made, fewest bytes first.
    best : name of the one within the budget; None where no budget was given.
    images : number of inputs for each agreement.
    """

    kind: ClassVar[str] = "search"

    layers: tuple[LayerRow, ...]
    points: tuple[SearchPoint, ...]
    images: int
    best: str | None = None
