"""Fits the two constants of nets in the static timing estimate to routed reports of Vivado.

``python -m scripts.timing_fit FOLDER``: the reports' names contain ``timing``, and ``SOURCES.md``
beside them says whose each is. Prints what a fit without one owner's reports says of these, and the
constants of a fit to all. They go into ``hw/synth/timing/constants.py`` by hand.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hw.synth.timing.constants import NET
from hw.synth.timing.routed import RoutedPath, estimate_path, read_routed
from nbqnn_train.graph import NbqnnError
from scripts.output import console
from scripts.tables import plain_table

__all__ = ["errors_left_out", "fit", "main", "read_folder"]

#: Fitted are paths with so many nets. Those with fewer are as long as the clock lets them be.
FITTED_NETS = 3
_LOG_FANOUT, _CONSTANT = np.arange(0, 0.301, 0.005), np.arange(0, 1.501, 0.01)


def read_folder(folder: Path) -> list[tuple[str, RoutedPath]]:
    """The paths of all reports: (owner, path)."""
    owners, owner = {}, ""
    for row in (folder / "SOURCES.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (\S+\.rpt) \| (?:([\w.-]+)/\S+|same) \|", row):
            owner = found[2] or owner
            owners[found[1]] = owner
    return [
        (owners[file.name], path)
        for file in sorted(folder.glob("*timing*.rpt"))
        for path in read_routed(file.read_text(encoding="utf-8", errors="replace"))
    ]


def fit(paths: list[tuple[str, RoutedPath]]) -> tuple[dict[str, float], float, float]:
    """Median of each kind of cell; ns for each ln(fan-out) and ns of every path.

    The sum of relative errors is the least, each owner's with the weight of the root of its number.
    """
    measured = defaultdict(list)
    for _, path in paths:
        for kind, delay in path.cells:
            measured[kind].append(delay / path.speed)
    medians = {kind: float(np.median(delays)) for kind, delays in measured.items()}
    fitted = [one for one in paths if one[1].routed >= FITTED_NETS]
    numbers = Counter(owner for owner, _ in fitted)
    weight = np.array([numbers[owner] ** -0.5 for owner, _ in fitted])
    data = np.array([path.data_ns / path.speed for _, path in fitted])

    def cell(kind: str, delay: float) -> float:
        return medians.get(kind, delay)

    def at(log_fanout: float) -> np.ndarray:
        values = [estimate_path(path, cell, log_fanout, 0.0) / path.speed for _, path in fitted]
        return np.array(values)

    fixed = at(0.0)
    slope = at(1.0) - fixed
    total = fixed + np.multiply.outer(_LOG_FANOUT, slope)
    total = total[:, None, :] + _CONSTANT[None, :, None]
    loss = (weight * abs(total / data - 1)).sum(axis=2)
    row, column = np.unravel_index(loss.argmin(), loss.shape)
    return medians, float(_LOG_FANOUT[row]), float(_CONSTANT[column])


def errors_left_out(paths: list[tuple[str, RoutedPath]]) -> list[tuple[int, float]]:
    """For each path its number of nets, and estimate / report without its owner's in the fit."""
    found = []
    for owner in sorted({one for one, _ in paths}):
        medians, log_fanout, constant = fit([one for one in paths if one[0] != owner])

        def cell(kind: str, delay: float, medians: dict[str, float] = medians) -> float:
            return medians.get(kind, delay)

        found += [
            (path.routed, estimate_path(path, cell, log_fanout, constant) / path.data_ns)
            for one, path in paths
            if one == owner
        ]
    return found


def main(folder: Annotated[Path, typer.Argument(help="Reports and their SOURCES.md.")]) -> None:
    """Prints the errors with one owner left out, and the constants of all."""
    if not (folder / "SOURCES.md").is_file():
        raise NbqnnError(f"folder {str(folder)!r} must hold reports and SOURCES.md, but does not")
    paths = read_folder(folder)
    found = errors_left_out(paths)
    title = f"{len(paths)} paths of {len({owner for owner, _ in paths})} owners, each left out"
    table = plain_table(
        *("nets", "paths", "median error", "bias", "within 25 %", "factor (rms)"), title=title
    )
    for name, low, high in (("1", 1, 1), ("2", 2, 2), ("3…", 3, 99), ("5…", 5, 99), ("all", 0, 99)):
        ratios = np.array([ratio for nets, ratio in found if low <= nets <= high])
        error = abs(ratios - 1)
        table.add_row(
            name,
            f"{len(ratios)}",
            f"{np.median(error):.1%}",
            f"{np.median(ratios) - 1:+.1%}",
            f"{np.mean(error <= 0.25):.0%}",
            f"{np.exp(np.sqrt(np.mean(np.log(ratios) ** 2))):.2f}",
        )
    console.print(table)
    medians, log_fanout, constant = fit(paths)
    console.print(f"a net: {NET} + {log_fanout:.3f} ln(fan-out) ns; every path: {constant:.2f} ns")
    console.print("cells: " + ", ".join(f"{k} {v:.3f}" for k, v in sorted(medians.items())))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
