"""Finds the results in a folder, whatever their names are. JSON says its kind."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.boards.presets import load_config
from hw.contract.config import ConfigError
from hw.explore.results import ExplorationResult
from hw.model.estimate import ProgramEstimate
from hw.spatial.build import described_circuit, is_spatial
from hw.synth.results import SynthResult
from nbqnn_train.graph import Graph, NbqnnError, load
from nbqnn_train.graph.results import Evaluation, Result, ResultError
from nbqnn_train.graph.summary import GraphSummary
from nbqnn_train.learn.results import TrainingCourse, TrainingResult
from scripts.demo_result import DemoResult
from scripts.quantize_result import QuantizeResult
from sim.results import CircuitSimulationResult, SimulationResult

__all__ = ["Found", "find_results"]

#: Bytes of the largest files that are read.
_LARGEST_JSON = 1 << 26
_LARGEST_GRAPH = 1 << 30
#: First bytes of a graph's file.
_GRAPH = b"\x89NBQNN"
#: Results that the report shows, by kind.
_RESULTS: dict[str, type[Result]] = {
    one.kind: one
    for one in (
        DemoResult,
        Evaluation,
        ExplorationResult,
        GraphSummary,
        ProgramEstimate,
        QuantizeResult,
        SimulationResult,
        CircuitSimulationResult,
        SynthResult,
        TrainingCourse,
        TrainingResult,
    )
}


@dataclass(frozen=True)
class Found:
    """A result: its kind, its file or folder relative to the report's folder, and its content.

    ``run``: curves, name -> (step, value); ``graph``: the graph; ``build``: the configuration;
    ``circuit``: its description;
    others: the result, None if fields are missing or of another type.
    """

    kind: str
    name: str
    content: object


def find_results(folder: Path) -> list[Found]:
    """All results in a folder and those below it, in the order of their names.

    Files that are no results, or are damaged, are ignored.

    Raises
    ------
    NbqnnError
        There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise NbqnnError(f"report folder must exist, not {str(folder)!r}")
    found = list(_results(folder))
    if not found:
        raise NbqnnError(
            f"report folder {str(folder)!r} must hold a run, a graph, a build or a JSON result, "
            "but holds none"
        )
    return found


def _results(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.name == "metrics.csv" and path.parent.name.startswith("version_"):
            if curves := _curves(path):
                yield Found("run", name, curves)
        elif path.name == "hw.json" and is_spatial(path.parent):
            if (described := described_circuit(path.parent)) is not None:
                yield Found("circuit", name, described)
        elif path.name == "hw.json":
            try:
                yield Found("build", name, load_config(path=path))
            except ConfigError:
                continue
        elif path.suffix == ".json" and path.is_file():
            content = _json(path)
            kind = content.get("kind") if isinstance(content, Mapping) else None
            if isinstance(kind, str) and kind in _RESULTS:
                yield Found(kind, name, _result(_RESULTS[kind], content))
        elif path.is_file() and (graph := _graph(path)) is not None:
            yield Found("graph", name, graph)


def _result(kind: type[Result], content: Mapping) -> Result | None:
    try:
        return kind.from_json(content)
    except ResultError:
        return None


def _json(path: Path) -> object:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _graph(path: Path) -> Graph | None:
    try:
        with path.open("rb") as file:
            begins = file.read(len(_GRAPH)) == _GRAPH
        if not begins or path.stat().st_size > _LARGEST_GRAPH:
            return None
        return load(path)
    except (OSError, NbqnnError):
        return None


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every quantity in a log; empty for a file that is no log."""
    curves: dict[str, list[tuple[int, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                step = int(row["step"])
                for name, text in row.items():
                    if name not in ("epoch", "step") and text:
                        curves.setdefault(name, []).append((step, float(text)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
    return curves
