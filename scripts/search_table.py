"""The table that ``nbqnn search`` prints."""

from rich.table import Table

from scripts.search_result import SearchResult

__all__ = ["search_table"]


def search_table(result: SearchResult) -> Table:
    """A row for each network, fewest bytes first."""
    bits = sum(layer.weights for layer in result.layers)
    table = Table(title=f"agreement with full precision on {result.images} inputs")
    table.add_column("network")
    names = ["bytes", "bits a weight", "agreement", "accuracy"]
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("beaten by")
    for one in result.points:
        table.add_row(
            one.name,
            f"{one.weight_bytes:,}",
            f"{8 * one.weight_bytes / bits:.2f}",
            f"{one.agreement:.2%}",
            "" if one.accuracy is None else f"{one.accuracy:.2%}",
            ", ".join(other.name for other in result.points if other.beats(one)),
        )
    return table
