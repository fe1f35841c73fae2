"""Finds results and writes the page of ``nbqnn report``."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw.contract.files import write_text
from hw.contract.origin import Origin
from hw.model.estimate import ProgramEstimate
from hw.synth.build import read_origin
from hw.synth.results import SynthResult
from nbqnn_train.graph import Graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.pages import Section, page
from scripts.demo_result import DemoResult
from scripts.explore_pictures import explore_sections
from scripts.report.changes_part import comparison
from scripts.report.circuit_part import circuit_section, circuit_simulation_section
from scripts.report.found import Found, find_results
from scripts.report.hardware_part import areas_section, build_section, synth_section
from scripts.report.network_picture import network_section
from scripts.report.origins import check_origins, origin_of_result
from scripts.report.overview import overview
from scripts.report.predictions_part import predictions_section
from scripts.report.samples import find_samples
from scripts.report.schedule_part import compile_section, simulate_section
from scripts.report.timing_part import power_section, timing_section
from scripts.report.training_part import (
    accuracy_section,
    course_sections,
    nodes_section,
    quantize_section,
    run_section,
)
from sim.results import SimulationResult

__all__ = ["build_report"]

#: What comes of a result whose values are not those of its kind.
_DAMAGES = (NbqnnError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
#: Kinds of results that share one section.
_ACCURACIES = ("train", "evaluate")


def _synth_sections(name: str, result: SynthResult) -> list[Section]:
    made = (part(name, result) for part in (synth_section, timing_section, power_section))
    return [section for section in made if section is not None]


#: Kind -> its section or sections, in the order of the page.
_SECTIONS: dict[str, Callable[[str, Any], Section | list[Section]]] = {
    "graph": nodes_section,
    "inspect": nodes_section,
    "run": run_section,
    "course": course_sections,
    "quantize": quantize_section,
    "simulate": simulate_section,
    "simulate-circuit": circuit_simulation_section,
    "compile": compile_section,
    "synth": _synth_sections,
    "build": build_section,
    "circuit": circuit_section,
}


def build_report(folder: Path, out: Path, other: Path | None = None) -> dict[str, list[str]]:
    """Writes the page. Returns kind -> names of the results on it, with the skipped ones as
    ``skipped``.

    A result that lacks fields of its section is skipped: another version may have written it. With
    ``other`` the page begins with what is different there.

    Raises
    ------
    NbqnnError
        The folder holds nothing to report, or a result of another build than those in it.
    """
    found = _found(folder)
    made = [_made(folder, one, found) for one in found]
    found = [
        one if part is not None else replace(one, content=None)
        for one, part in zip(found, made, strict=True)
    ]
    top = overview(folder.resolve().name, found)
    used: dict[str, list[str]] = {}
    for one, part in zip(found, made, strict=True):
        used.setdefault("skipped" if part is None else one.kind, []).append(one.name)
    sections = [section for part in made for section in part or ()]
    if (samples := find_samples(folder, found)) is not None:
        after = [section.title == "Network" for section in sections].index(True)
        sections.insert(after + 1, predictions_section(samples))
    areas = {one.name: one.content for one in found if one.name in used.get("synth", ())}
    if len(areas) > 1:
        place = next(n for n, one in enumerate(sections) if one.title.startswith("Area of"))
        sections.insert(place, areas_section(areas))
    accuracies = {one.name: one.content for one in found if one.kind in _ACCURACIES and one.content}
    if accuracies:
        sections.append(accuracy_section(accuracies))
    if not sections:
        raise NbqnnError(
            f"report folder {str(folder)!r} must hold complete results, but all are damaged: "
            f"{', '.join(used['skipped'])}"
        )
    sections = _told_apart(sections)
    names = "; ".join(f"{kind}: {', '.join(files)}" for kind, files in used.items())
    if other is not None:
        sections.insert(0, _side_by_side(folder, found, other))
    text = page(top.name, sections, f"Made from {names}.", top.html())
    # Names of files may be no text.
    write_text(out, text.encode(errors="replace").decode())
    return used


def _found(folder: Path) -> list[Found]:
    """The results in a folder in the order of the page. Those of a demo are taken apart."""
    order = [*_ACCURACIES, *_SECTIONS, "explore", "demo"]
    found = [part for one in find_results(folder) for part in _parts(one)]
    check_origins(folder, found)
    return sorted(found, key=lambda one: order.index(one.kind))


def _made(folder: Path, one: Found, found: list[Found]) -> list[Section] | None:
    """The sections of a result; None if it is damaged."""
    if one.content is None:
        return None
    try:
        overview(one.name, [one])
        if one.kind in _ACCURACIES:
            return []
        return _with_origin(_sections(one, found), _origin(folder, one))
    except _DAMAGES:
        return None


def _side_by_side(folder: Path, found: list[Found], other: Path) -> Section:
    names = (folder.resolve().name, other.resolve().name)
    if names[0] == names[1]:
        names = (str(folder), str(other))
    return comparison(names, found, _found(other))


def _parts(one: Found) -> list[Found]:
    """The results of several commands in a demo's summary; otherwise the result itself."""
    demo = one.content
    if not isinstance(demo, DemoResult):
        return [one]
    synths = [(f"{pe} array", result) for pe, result in demo.synth.items()]
    results = [(one.name, demo.evaluate), (one.name, demo.simulate), *synths]
    return [Found(result.kind, name, result) for name, result in results]


def _origin(folder: Path, one: Found) -> Origin | None:
    return read_origin(folder / one.name) if one.kind == "build" else origin_of_result(one.content)


def _told_apart(sections: list[Section]) -> list[Section]:
    """Titles that occur more than once, with what the section is about behind them."""
    count = Counter(section.title for section in sections)
    return [
        replace(one, title=f"{one.title}: {one.note.rpartition(', RTL ')[0] or one.note}")
        if count[one.title] > 1 and one.note
        else one
        for one in sections
    ]


def _with_origin(sections: list[Section], origin: Origin | None) -> list[Section]:
    """Adds a note on the RTL of the result."""
    if origin is None:
        return sections
    return [replace(one, note=f"{one.note}, RTL {origin.short}") for one in sections]


def _sections(one: Found, found: list[Found]) -> list[Section]:
    if isinstance(one.content, Graph):
        return [network_section(one.name, one.content), nodes_section(one.name, one.content)]
    if one.kind == "explore":
        return explore_sections(one.content)
    if isinstance(one.content, ProgramEstimate):
        simulated = any(
            isinstance(other.content, SimulationResult)
            and _layers(other.content) == _layers(one.content)
            for other in found
        )
        return [compile_section(one.name, one.content, simulated)]
    made = _SECTIONS[one.kind](one.name, one.content)
    return made if isinstance(made, list) else [made]


def _layers(result: SimulationResult | ProgramEstimate) -> list[str]:
    return [layer.name for layer in result.layers]
