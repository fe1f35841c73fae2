"""Trained networks that come with the package: integer graphs, each with its card."""

from nbqnn_train.cards.card import Card, Origin, card_names, named_graph, read_card
from nbqnn_train.cards.networks import NetworkFigures, NetworkList, read_networks

__all__ = [
    "Card",
    "NetworkFigures",
    "NetworkList",
    "Origin",
    "card_names",
    "named_graph",
    "read_card",
    "read_networks",
]
