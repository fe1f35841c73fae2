"""``nbqnn report``: finds results and writes the page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw.contract.files import write_text
from hw.contract.origin import Origin
from hw.synth.build import read_origin
from nbqnn_train.graph.errors import NbqnnError
from scripts.demo_result import DemoResult
from scripts.explore_pictures import explore_sections
from scripts.pages import Section, page
from scripts.report.circuit_part import circuit_section, circuit_simulation_section
from scripts.report.found import Found, find_results
from scripts.report.hardware_part import (
    build_section,
    compile_section,
    simulate_section,
    synth_section,
)
from scripts.report.origins import check_origins, origin_of_result
from scripts.report.training_part import accuracy_section, nodes_section, run_section

__all__ = ["build_report"]

#: Kind -> its section, in the order of the page.
_SECTIONS: dict[str, Callable[[str, Any], Section]] = {
    "run": run_section,
    "train": accuracy_section,
    "evaluate": accuracy_section,
    "graph": nodes_section,
    "inspect": nodes_section,
    "build": build_section,
    "circuit": circuit_section,
    "synth": synth_section,
    "compile": compile_section,
    "simulate": simulate_section,
    "simulate-circuit": circuit_simulation_section,
}


def build_report(folder: Path, out: Path) -> dict[str, list[str]]:
    """Writes the page. Returns kind -> names of the results on it, and ``skipped``.

    A result that lacks what its section shows is skipped: another version may have written it.

    Raises
    ------
    NbqnnError
        The folder holds nothing to report, or a result of another build than those in it.
    """
    order = [*_SECTIONS, "explore", "demo"]
    found = [part for one in find_results(folder) for part in _parts(one)]
    check_origins(folder, found)
    found.sort(key=lambda one: order.index(one.kind))
    used: dict[str, list[str]] = {}
    sections = []
    for one in found:
        if one.content is None:
            used.setdefault("skipped", []).append(one.name)
            continue
        try:
            sections += _with_origin(_sections(one), _origin(folder, one))
        except (NbqnnError, KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
            used.setdefault("skipped", []).append(one.name)
            continue
        used.setdefault(one.kind, []).append(one.name)
    if not sections:
        raise NbqnnError(
            f"report folder {str(folder)!r} must hold complete results, but all are damaged: "
            f"{', '.join(used['skipped'])}"
        )
    names = "; ".join(f"{kind}: {', '.join(files)}" for kind, files in used.items())
    write_text(out, page(f"Report on {folder.resolve().name}", sections, f"Made from {names}."))
    return used


def _parts(one: Found) -> list[Found]:
    """A demo's summary holds results of several commands."""
    demo = one.content
    if not isinstance(demo, DemoResult):
        return [one]
    synths = [(f"{one.name}, {pe}", result) for pe, result in demo.synth.items()]
    results = [(one.name, demo.evaluate), (one.name, demo.simulate), *synths]
    return [Found(result.kind, name, result) for name, result in results]


def _origin(folder: Path, one: Found) -> Origin | None:
    return read_origin(folder / one.name) if one.kind == "build" else origin_of_result(one.content)


def _with_origin(sections: list[Section], origin: Origin | None) -> list[Section]:
    """The title says which RTL the result is of."""
    if origin is None:
        return sections
    return [replace(one, title=f"{one.title}, RTL {origin.short}") for one in sections]


def _sections(one: Found) -> list[Section]:
    if one.kind == "explore":
        return explore_sections(one.content)
    return [_SECTIONS[one.kind](one.name, one.content)]
