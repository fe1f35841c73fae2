"""Tables in Markdown."""

import re
from collections.abc import Iterable

__all__ = ["table"]


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of these rows."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    # What does not break stays so: numbers and their units.
    return re.sub(r"[ \t\n]+", " ", str(value)).strip(" ").replace("|", "\\|")
