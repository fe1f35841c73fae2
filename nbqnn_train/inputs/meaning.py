"""What inputs and outputs of a network mean: how pictures become inputs, what classes are called.

It is kept beside a run's weights, a graph or a program as ``FILE.meaning.json``, with the digest of
the graph that it belongs to.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nbqnn_train.graph import Graph, NbqnnError, graph_digest
from nbqnn_train.graph.files import write_text
from nbqnn_train.inputs.preparation import Preparation

__all__ = ["Meaning", "meaning_file", "read_meaning", "write_meaning"]

_NAME = "{}.meaning.json"
_LARGEST = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What is known; None where nothing is.

    preparation : how an image file becomes an input.
    classes : names of the outputs, in order.
    graph : digest of the graph that this belongs to.
    """

    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    graph: str | None = None


def meaning_file(path: Path) -> Path:
    """Where the meaning of the graph or program in the file ``path`` is kept."""
    return path.with_name(_NAME.format(path.name))


def write_meaning(file: Path, meaning: Meaning, graph: Graph | None = None) -> None:
    """Writes ``meaning``, of ``graph`` if it is given, beside its place and renames it."""
    if graph is not None:
        meaning = replace(meaning, graph=graph_digest(graph))
    write_text(file, json.dumps(asdict(meaning), indent=2) + "\n")


def read_meaning(file: Path, graph: Graph | None = None) -> Meaning:
    """What the file says; nothing where there is none, or where it belongs to another graph.

    Raises :class:`NbqnnError` for a file that is damaged.
    """
    if not file.is_file():
        return Meaning()
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        meaning = _meaning(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise NbqnnError(f"{file} must be as nbqnn wrote it: {error}") from None
    if graph is not None and meaning.graph != graph_digest(graph):
        return Meaning()
    return meaning


def _meaning(values: object) -> Meaning:
    meaning = Meaning(**values)
    preparation = meaning.preparation
    if preparation is not None:
        if not isinstance(preparation, dict):
            raise ValueError("preparation must be a table")
        preparation = Preparation(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in preparation.items()
            }
        )
    classes = meaning.classes
    if classes is not None:
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be a list of names")
        classes = tuple(classes)
    return replace(meaning, preparation=preparation, classes=classes)
