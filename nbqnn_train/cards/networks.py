"""Sizes and cycles of the networks that can be trained by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nbqnn_train.graph.results import Result

__all__ = ["NETWORKS", "NetworkFigures", "NetworkList", "read_networks"]

#: Written by ``python -m scripts.models.figures``.
NETWORKS = Path(__file__).with_name("networks.json")


@dataclass(frozen=True, kw_only=True)
class NetworkFigures:
    """One network with 3-bit weights and 8-bit activations, its weights random.

    shape, classes : of one input, and number of outputs, of these figures; others are possible.
    parameters : numbers that the network in full precision learns.
    macs : multiply-accumulates of one image.
    cycles : preset -> cycles of one image by the cycle model, with that preset's memory; a preset
        that cannot run the network is missing.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    parameters: int
    macs: int
    cycles: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class NetworkList(Result):
    """All of them. ``date`` is that of the last that was computed."""

    kind: ClassVar[str] = "networks"

    date: str
    networks: tuple[NetworkFigures, ...]


def read_networks() -> NetworkList:
    """The figures that come with the package."""
    return NetworkList.read(NETWORKS)
