"""Renames switching activity of a simulation for a design that contains the accelerator."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["rerooted_saif"]


def rerooted_saif(source: Path, scope: str, path: Sequence[str]) -> str:
    """The activity of instance ``scope`` in the file ``source``, with ``path`` in its place.

    Both are in the Switching Activity Interchange Format. ``source`` has one item on a line, as
    Verilator writes it.

    Raises
    ------
    NbqnnError
        ``source`` cannot be read, is not complete or holds no such instance.
    """
    try:
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise NbqnnError(f"activity {str(source)!r} cannot be read: {reason}") from None
    if not any(line.strip() == "(SAIFILE" for line in lines[:5]):
        raise NbqnnError(f"activity {str(source)!r} must be a SAIF file, but does not begin so")
    begin = next((i for i, line in enumerate(lines) if line.lstrip().startswith("(INSTANCE")), 0)
    inside = list(_instance(source, lines, scope))
    wrapped = [f"(INSTANCE {name}\n" for name in path]
    return "".join([*lines[:begin], *wrapped, *inside, ")\n" * len(path), ")\n"])


def _instance(source: Path, lines: list[str], scope: str) -> Iterator[str]:
    """The lines inside the first instance of that name."""
    depth = 0
    for line in lines:
        if depth == 0:
            depth = int(line.strip() == f"(INSTANCE {scope}")
            continue
        depth += line.count("(") - line.count(")")
        if depth == 0:
            return
        yield line
    what = f"the end of instance {scope!r}" if depth else f"an instance {scope!r}"
    raise NbqnnError(f"activity {str(source)!r} must be complete, but lacks {what}")
