"""Vivado's text reports: utilization, utilization by hierarchy, timing summary, power.

Values are found by the titles of sections and the names of rows and columns. These stay the same in
all versions, and for synthesized and routed designs. Numbers and order of sections do not, and more
columns may come in between. (edalize reads the same tables, but needs pandas, and does not know the
rows of synthesized UltraScale+ designs.)
"""

import re
from dataclasses import dataclass
from pathlib import Path

from hw.synth.area import Area
from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "HierarchyRow",
    "Power",
    "Timing",
    "read_hierarchy",
    "read_power",
    "read_timing",
    "read_utilization",
    "tool_version",
]

_MAX_BYTES = 1 << 28
_HEADER = re.compile(r"^\| ([A-Z][\w ]*?) +: (.*?)\s*$", flags=re.MULTILINE)
_CONTENTS = re.compile(r"^[\d.]+ (.+)$")
_CLOCK = re.compile(r"^(\S+) +\{[^}]*\} +([\d.]+) +[\d.]+ *$", flags=re.MULTILINE)
_MET = "All user specified timing constraints are met."
_AFTER_CLOCKS = "| Intra Clock Table"
_NOT_MET = "Timing constraints are not met."


@dataclass(frozen=True)
class HierarchyRow:
    """An instance: its path below the top, joined by '/' (empty for the top itself)."""

    path: str
    module: str
    area: Area


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Worst slacks of setup and hold, and the fastest clock's period, in ns."""

    setup_slack_ns: float
    hold_slack_ns: float
    period_ns: float
    met: bool


@dataclass(frozen=True, kw_only=True)
class Power:
    """Watts; ``activity`` is whether switching activity was read from a file."""

    total_w: float
    dynamic_w: float
    static_w: float
    confidence: str
    activity: bool


def read_utilization(path: Path) -> Area:
    """The area in a ``report_utilization``. Raises :exc:`NbqnnError` for any other file."""
    tables = _tables(path, _read(path, "report_utilization"))
    used = {
        row["Site Type"].rstrip("*"): row["Used"]
        for table in tables.values()
        for row in table
        if "Site Type" in row and "Used" in row
    }
    return Area(
        lut=int(_number(path, used, "CLB LUTs", "Slice LUTs")),
        ff=int(_number(path, used, "CLB Registers", "Slice Registers")),
        bram36=_number(path, used, "Block RAM Tile"),
        dsp=int(_number(path, used, "DSPs")),
    )


def read_hierarchy(path: Path) -> list[HierarchyRow]:
    """The rows of ``report_utilization -hierarchical``, each with everything inside the instance.

    Rows in brackets, for the logic of an instance outside its inner instances, are left out.
    """
    tables = _tables(path, _read(path, "report_utilization"))
    table = tables.get("Utilization by Hierarchy")
    if not table or not {"Instance", "Module"} <= table[0].keys():
        raise _broken(path, "a table of the utilization by hierarchy")
    rows, above = [], []
    for cells in table:
        name = cells["Instance"]
        depth = (len(name) - len(name.lstrip())) // 2
        name = name.strip()
        if name.startswith("("):
            continue
        above[depth:] = [name]
        rows.append(
            HierarchyRow(
                "/".join(above[1:]),
                cells["Module"].strip(),
                Area(
                    lut=int(_number(path, cells, "Total LUTs")),
                    ff=int(_number(path, cells, "FFs")),
                    bram36=_number(path, cells, "RAMB36") + _number(path, cells, "RAMB18") / 2,
                    dsp=int(_number(path, cells, "DSP Blocks", "DSP48 Blocks")),
                ),
            )
        )
    return rows


def read_timing(path: Path) -> Timing:
    """The slacks in a ``report_timing_summary``. Raises :exc:`NbqnnError` if it has none."""
    text = _read(path, "report_timing_summary")
    if "There are no user specified timing constraints." in text:
        raise NbqnnError(f"report {path} must be of a design with a clock constraint, but has none")
    section = text.partition("| Design Timing Summary")[2]
    lines = [line for line in section.splitlines() if line.strip()]
    heading = next((i for i, line in enumerate(lines) if line.split()[0] == "WNS(ns)"), None)
    clocks = {name: float(period) for name, period in _CLOCK.findall(text)}
    verdict = _MET in text or _NOT_MET in text
    # The table of clocks is complete only if the next section has begun.
    whole = verdict and clocks and _AFTER_CLOCKS in text
    if heading is None or len(lines) < heading + 3 or not whole:
        raise _broken(path, "a timing summary with clocks and a verdict")
    names = re.split(r"\s{2,}", lines[heading].strip())
    values = dict(zip(names, lines[heading + 2].split(), strict=False))
    return Timing(
        setup_slack_ns=_number(path, values, "WNS(ns)"),
        hold_slack_ns=_number(path, values, "WHS(ns)"),
        period_ns=min(clocks.values()),
        met=_NOT_MET not in text,
    )


def read_power(path: Path) -> Power:
    """The summary of ``report_power``."""
    tables = _tables(path, _read(path, "report_power"))
    rows = {
        key: value
        for row in tables.get("Summary", [])
        for key, value in [tuple(cell.strip() for cell in row.values())]
    }
    return Power(
        total_w=_number(path, rows, "Total On-Chip Power (W)"),
        dynamic_w=_number(path, rows, "Dynamic (W)"),
        static_w=_number(path, rows, "Device Static (W)"),
        confidence=rows.get("Confidence Level", ""),
        activity=rows.get("Simulation Activity File", "---") != "---",
    )


def tool_version(path: Path) -> str:
    """``Vivado v.2021.2`` and the like, from any report."""
    version = dict(_HEADER.findall(_text(path))).get("Tool Version", "")
    return " ".join(version.split()[:2])


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise NbqnnError(f"report {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NbqnnError(f"report {path} must be a report of Vivado, but is no text") from None


def _read(path: Path, command: str) -> str:
    """The text of a report that Vivado's ``command`` wrote."""
    text = _text(path)
    header = dict(_HEADER.findall(text[:10_000]))
    if not header.get("Tool Version", "").startswith("Vivado "):
        raise NbqnnError(f"report {path} must be a report of Vivado, but does not say so")
    made_by = header.get("Command", "nothing").split()[0]
    if made_by != command:
        raise NbqnnError(f"report {path} must be of {command}, not of {made_by}")
    return text


def _tables(path: Path, text: str) -> dict[str, list[dict[str, str]]]:
    """Section title -> rows of the first table in it, each column title -> cell.

    A section without a table has no rows. The report must hold every section of its contents, and
    every table must be complete.
    """
    lines = text.splitlines()
    titles = []
    if "Table of Contents" in lines:
        for line in lines[lines.index("Table of Contents") + 2 :]:
            if not (match := _CONTENTS.match(line)):
                break
            titles.append(match[1])
    if not titles:
        raise _broken(path, "a table of contents")
    tables: dict[str, list[dict[str, str]]] = {}
    current = None
    for number, line in enumerate(lines[1:], 1):
        # A heading is underlined with as many dashes as it is long.
        heading = _CONTENTS.match(lines[number - 1])
        if heading and heading[1] in titles and line == "-" * len(lines[number - 1]):
            current = heading[1]
            tables[current] = []
        elif line.startswith("+-") and current is not None and not tables[current]:
            if lines[number - 1].startswith("|"):
                continue
            tables[current] = _table(path, lines[number:])
    for title in titles:
        if title not in tables:
            raise _broken(path, f"section {title!r}")
    return tables


def _table(path: Path, lines: list[str]) -> list[dict[str, str]]:
    """The table that begins at the first line; without a heading, columns are numbers."""
    blocks: list[list[list[str]]] = [[]]
    for line in lines[1:]:
        if line.startswith("|"):
            # Spaces before an instance's name tell how deep it is.
            blocks[-1].append([cell[1:].rstrip() for cell in line.strip("|").split("|")])
        elif line.startswith("+-"):
            blocks.append([])
        else:
            break
    else:
        if lines and not lines[-1].startswith("+-"):
            raise _broken(path, "the end of a table")
    if len(blocks) == 2:
        head, rows = [str(i) for i in range(len(blocks[0][0]))], blocks[0]
    elif len(blocks) in (3, 4):
        # A table without rows has no last line.
        head, rows = [cell.strip() for cell in blocks[0][0]], blocks[1]
    else:
        raise _broken(path, "a whole table")
    if any(len(row) != len(head) for row in rows):
        raise _broken(path, "a whole table")
    return [dict(zip(head, row, strict=True)) for row in rows]


def _number(path: Path, values: dict[str, str], *names: str) -> float:
    """The value under the first of ``names`` that exists; "<0.01" counts as 0.01."""
    for name in names:
        if name in values:
            try:
                return float(values[name].strip().removeprefix("<"))
            except ValueError:
                raise NbqnnError(
                    f"report {path} must give {name!r} as a number, not {values[name].strip()!r}"
                ) from None
    raise _broken(path, f"{names[0]!r}")


def _broken(path: Path, what: str) -> NbqnnError:
    return NbqnnError(f"report {path} must be complete, but lacks {what}")
