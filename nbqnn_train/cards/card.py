"""A trained network that comes with the package: where it comes from, and how accurate it is."""

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.results import Result

__all__ = ["CARDS", "Card", "Origin", "card_names", "named_graph", "read_card"]

#: Cards, graphs, and what inputs and outputs of the graphs mean.
CARDS = Path(__file__).parent
_CARD = "{}.card.json"
_GRAPH = "{}.graph"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Something that went into a network: images or weights.

    licence : its name, or what is known where there is none.
    """

    what: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Card(Result):
    """How a network was made, how large it is, and what it reaches.

    what : one line for people.
    network, data : names as ``nbqnn train`` takes them.
    shape : of one input, without the batch.
    classes : names of the outputs, in order.
    weight_bits, act_bits : widths, in bits.
    parameters : numbers that the network in full precision learns.
    macs : multiply-accumulates of one image.
    cycles : preset -> cycles of one image by the cycle model, with that preset's memory; a preset
        that cannot run the graph is missing.
    commands : what made the graph, in order; ``DIR`` is the folder with the data set's files.
    made : date of the last of these commands, in ISO 8601.
    error, test_images : share of the data set's test images, all of them, that the graph
        classifies wrongly, computed by the interpreter; and how many there are.
    float_error : the same of the network in full precision; None if it was not measured.
    measured : date at which ``error`` and ``cycles`` were computed.
    origins : what went into it.
    sha256 : digest of the graph's file, in hexadecimal.
    """

    kind: ClassVar[str] = "card"
    derived: ClassVar[tuple[str, ...]] = ("evaluate",)

    name: str
    what: str
    network: str
    data: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    weight_bits: int
    act_bits: int
    parameters: int
    macs: int
    cycles: dict[str, int]
    commands: tuple[str, ...]
    made: str
    error: float
    test_images: int
    float_error: float | None = None
    measured: str
    origins: tuple[Origin, ...]
    sha256: str

    @property
    def evaluate(self) -> str:
        """The command that measures ``error``."""
        return f"nbqnn evaluate {self.name} --data {self.data} --data-dir DIR"

    @property
    def graph(self) -> Path:
        """The graph's file. Raises :class:`NbqnnError` unless it has the card's digest."""
        path = CARDS / _GRAPH.format(self.name)
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise NbqnnError(
                f"Trained network {self.name!r} has no graph: {str(path)!r} cannot be read: "
                f"{error.strerror}; remedy: install nbqnn again"
            ) from None
        if digest != self.sha256:
            raise NbqnnError(
                f"Trained network {self.name!r} is damaged: the SHA-256 of {str(path)!r} must be "
                f"{self.sha256[:12]}…, not {digest[:12]}…; remedy: install nbqnn again"
            )
        return path


def card_names() -> list[str]:
    """The names of all cards, sorted."""
    ending = _CARD.format("")
    return sorted(path.name.removesuffix(ending) for path in CARDS.glob(_CARD.format("*")))


def read_card(name: str) -> Card:
    """The card called ``name``. Raises :class:`NbqnnError` if there is none."""
    if name not in card_names():
        raise NbqnnError(f"Trained network must be {_offered(name, card_names())}, not {name!r}")
    return Card.read(CARDS / _CARD.format(name))


def named_graph(path: Path) -> Path:
    """``path`` if there is such a file or folder; else the graph's file of the card of that name.

    A path with a folder or an ending is no name; it is given back as it is. Raises
    :class:`NbqnnError` for an unknown name, and for a graph that has not its card's digest.
    """
    name = str(path)
    if path.exists() or path.name != name or path.suffix:
        return path
    if name not in card_names():
        offered = _offered(name, card_names())
        raise NbqnnError(f"Network must be a file or folder, or {offered}, not {name!r}")
    return read_card(name).graph


def _offered(name: str, names: list[str]) -> str:
    """The names nearest to ``name``, or all of them where none is near."""
    nearest = get_close_matches(name.lower(), names, n=3)
    if not nearest:
        return f"one of {', '.join(names)}"
    return f"a trained one such as {', '.join(nearest)} (nbqnn models lists all)"
