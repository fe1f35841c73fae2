"""Files with one JSON object a line. Work appends to them; a line that is cut off does no harm."""

import json
from pathlib import Path

__all__ = ["append_line", "read_lines"]


def read_lines(path: Path) -> list[dict]:
    """The objects of a file; none if there is no file.

    A line that was cut off when the writer was stopped is ignored. Raises :exc:`ValueError` for any
    other line that is no JSON object.
    """
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        # Only a whole line ends with the brace of its object.
        if line.endswith("}"):
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"a line must hold an object, not {line[:80]!r}")
            found.append(value)
    return found


def append_line(path: Path, value: dict) -> None:
    """Appends an object on a line of its own."""
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        content = file.read()
        begins = "" if not content or content.endswith("\n") else "\n"
        file.write(f"{begins}{json.dumps(value)}\n")
