"""Tables of trained networks, and of those that can be trained, from the cards in the package."""

from hw.boards.presets import PRESETS
from nbqnn_train.cards import card_names, read_card, read_networks

from .tables import table

__all__ = ["card_commands", "card_cycles", "card_origins", "cards", "network_figures"]

#: A space at which no line breaks.
_TIED = "\u00a0"


def cards() -> str:
    """Errors of the trained networks."""
    rows = []
    for card in map(read_card, card_names()):
        exact = "not measured" if card.float_error is None else _share(card.float_error)
        size = f"{card.graph.stat().st_size / 1000:.0f}{_TIED}kB"
        bits = f"{card.weight_bits}{_TIED}/{_TIED}{card.act_bits}"
        # A date in one line: its hyphens do not break.
        reached = (_share(card.error), exact, card.measured.replace("-", "\u2011"))
        rows.append((f"`{card.name}`", card.what, bits, size, *reached))
    header = ("name", "what", "bits", "graph", "error", "float")
    return table((*header, "measured"), rows)


def card_commands() -> str:
    """What made them."""
    lines = (line for name in card_names() for line in read_card(name).commands)
    return "```text\n" + "\n".join(lines) + "\n```\n"


def card_origins() -> str:
    """Data and weights, with their licences."""
    users: dict[tuple[str, str], list[str]] = {}
    for name in card_names():
        for origin in read_card(name).origins:
            users.setdefault((origin.what, origin.licence), []).append(f"`{name}`")
    rows = ((what, licence, ", ".join(names)) for (what, licence), names in users.items())
    return table(("what", "licence", "in"), rows)


def card_cycles() -> str:
    """Their cycles on each preset."""
    return _preset_cycles({name: read_card(name).cycles for name in card_names()})


def _preset_cycles(found: dict[str, dict[str, int]]) -> str:
    """Presets down, networks across: there are more presets than a page is wide."""
    rows = (
        (f"`{preset}`", *(_count(cycles.get(preset)) for cycles in found.values()))
        for preset in PRESETS
        if any(preset in cycles for cycles in found.values())
    )
    return table(("preset", *(f"`{name}`" for name in found)), rows)


def _share(error: float) -> str:
    return f"{100 * error:.2f}{_TIED}%"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def network_figures() -> str:
    """Sizes and cycles of all networks that can be trained by name."""
    networks = read_networks().networks
    rows = (
        (
            f"`{one.name}`",
            " × ".join(map(str, one.shape)),
            one.classes,
            f"{one.parameters:,}",
            f"{one.macs:,}",
        )
        for one in networks
    )
    sizes = table(("network", "input", "classes", "parameters", "MACs"), rows)
    return sizes + "\nCycles:\n\n" + _preset_cycles({one.name: one.cycles for one in networks})
