"""Networks that can be trained, and trained ones, on the screen."""

from collections.abc import Mapping

from rich.table import Table

from hw.boards.presets import PRESETS
from nbqnn_train.cards import Card
from scripts.models.listing import ModelsResult
from scripts.tables import plain_table

__all__ = ["card_lines", "cycles_table", "networks_table", "trained_table"]


def networks_table(result: ModelsResult, preset: str) -> Table:
    """A row for each network that can be trained."""
    table = plain_table(
        *("network", "input", "para-\nmeters", "MACs", "cycles", "least error here"),
        title="Networks for nbqnn train --model; cycles with 3-bit weights and 8-bit activations "
        f"on {preset}, by the cycle model, {result.date}",
    )
    for one in result.networks:
        table.add_row(
            one.name,
            _shape(one.shape),
            _short(one.parameters),
            _short(one.macs),
            _count(one.cycles.get(preset)),
            _least_error(one.name, result.trained),
        )
    return _breaking(table, -1)


def trained_table(result: ModelsResult, preset: str) -> Table:
    """A row for each trained network."""
    table = plain_table(
        *("name", "data", "bits", "error", "float", "measured", "cycles"),
        title="Trained, wherever a graph is asked for: share of wrong test images, cycles on "
        f"{preset} by the cycle model",
    )
    for card in result.trained:
        table.add_row(
            card.name,
            card.data,
            f"{card.weight_bits}/{card.act_bits}",
            f"{card.error:.2%}",
            _share(card.float_error),
            card.measured,
            _count(card.cycles.get(preset)),
        )
    return _breaking(table, 1)


def cycles_table(cycles: Mapping[str, int]) -> Table:
    """Cycles of one image on each preset."""
    table = plain_table("preset", "cycles", "images/s", title="One image, by the cycle model")
    for preset, config in PRESETS.items():
        if preset in cycles:
            rate = config.clock_mhz * 1e6 / cycles[preset]
            table.add_row(preset, f"{cycles[preset]:,}", f"{rate:,.0f}")
    return table


def card_lines(card: Card) -> list[str]:
    """All that is known of a trained network, but for its cycles."""
    origins = [f"from: {one.what}; licence: {one.licence}" for one in card.origins]
    exact = "" if card.float_error is None else f", {card.float_error:.2%} in full precision"
    return [
        f"{card.name}: {card.what}",
        f"network {card.network}, {card.parameters:,} parameters, {card.macs:,} MACs; "
        f"{card.weight_bits}-bit weights, {card.act_bits}-bit activations",
        f"input {_shape(card.shape)}; classes: {', '.join(card.classes)}",
        f"error {card.error:.2%} of {card.test_images:,} test images{exact}; "
        f"{card.measured}: {card.evaluate}",
        *(f"made {card.made}: {command}" for command in card.commands),
        *origins,
        f"graph {card.graph}, SHA-256 {card.sha256}",
    ]


def _breaking(table: Table, column: int) -> Table:
    """Where the screen is narrow, data sets are broken: neither numbers nor names to be typed."""
    table.columns[0].no_wrap = True
    table.columns[column].no_wrap = False
    table.columns[column].overflow = "fold"
    return table


def _least_error(network: str, cards: tuple[Card, ...]) -> str:
    """By data set, because errors on two do not compare."""
    least: dict[str, float] = {}
    for card in cards:
        if card.network == network:
            least[card.data] = min(card.error, least.get(card.data, 1.0))
    return "\n".join(f"{error:.2%} {data}" for data, error in least.items())


def _short(number: int) -> str:
    """Three digits of it, in thousands, millions or thousands of millions."""
    for letter, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 0.9995 * unit:  # what rounds to it
            return f"{number / unit:#.3g}".rstrip(".") + f" {letter}"
    return f"{number}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _count(cycles: int | None) -> str:
    return "" if cycles is None else f"{cycles:,}"


def _share(error: float | None) -> str:
    return "" if error is None else f"{error:.2%}"
