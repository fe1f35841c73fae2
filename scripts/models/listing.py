"""What ``nbqnn models`` lists."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from nbqnn_train.cards import Card, NetworkFigures, card_names, read_card, read_networks
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.results import Result

__all__ = ["ModelsResult", "list_models"]


@dataclass(frozen=True, kw_only=True)
class ModelsResult(Result):
    """Networks that can be trained, and networks that are trained and come with the package.

    date : when the cycles of the networks were computed, in ISO 8601.
    """

    kind: ClassVar[str] = "models"

    date: str
    networks: tuple[NetworkFigures, ...]
    trained: tuple[Card, ...]


def list_models(name: str | None = None) -> ModelsResult:
    """All, or one network with what was trained of it, or one trained network.

    Raises :class:`NbqnnError` for a name that is none of these.
    """
    known = read_networks()
    cards = tuple(read_card(one) for one in card_names())
    if name is None:
        return ModelsResult(date=known.date, networks=known.networks, trained=cards)
    networks = tuple(one for one in known.networks if one.name == name)
    cards = tuple(one for one in cards if name in (one.name, one.network))
    if not networks and not cards:
        names = [*card_names(), *(one.name for one in known.networks)]
        near = get_close_matches(name.lower(), names, n=3) or names
        raise NbqnnError(f"Name must be one of {', '.join(near)}, not {name!r}")
    return ModelsResult(date=known.date, networks=networks, trained=cards)
