"""Costs that are kept in a file, so that a change shows which of them it alters."""

import json
from collections.abc import Iterable
from pathlib import Path

from nbqnn_train.graph.files import write_text

__all__ = ["compare", "keep"]

Costs = Iterable[tuple[str, dict[str, int] | None]]


def keep(path: Path, costs: Costs) -> None:
    """Writes the costs to ``path``, a line for each name."""
    lines = (f"{json.dumps(name)}: {json.dumps(found)}" for name, found in costs)
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def compare(path: Path, costs: Costs) -> None:
    """Raises :exc:`AssertionError` unless the costs are those in ``path``."""
    before, now = json.loads(path.read_text("utf-8")), dict(costs)
    assert now.keys() == before.keys(), f"other names: {sorted(now.keys() ^ before.keys())[:5]}"
    changed = {name: (before[name], now[name]) for name in now if now[name] != before[name]}
    shown = [f"{name}: {was} -> {is_}" for name, (was, is_) in list(changed.items())[:5]]
    assert not changed, "\n".join([f"{len(changed)} of {len(now)} changed", *shown])
