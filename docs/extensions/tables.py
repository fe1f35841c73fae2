"""Tables in Markdown."""

from collections.abc import Iterable

__all__ = ["table"]


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of these rows."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
