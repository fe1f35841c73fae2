"""Paths of a routed timing report of Vivado, and what the estimate says of the same paths."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import log

from hw.synth.timing import constants as ns

__all__ = ["RoutedPath", "cell_delay", "estimate_path", "read_routed"]

_STARTS = re.compile(r"^(?=Slack)", re.MULTILINE)
_RULE = re.compile(r"^  -{20,}.*\n", re.MULTILINE)
_NET = re.compile(r"net \(fo=(\d+), \w+\) +([\d.]+) ")
#: A cell's delay may stand on the line after its name.
_CELL = re.compile(r"^ +(\S+) +(\w+) \(Prop_(\S+)\)\s+([\d.]+) +-?[\d.]+ ", re.MULTILINE)
_LAST = re.compile(r"^ +(\S+) +(\w+) +[rf]? +(\S+)(?: +\(IS_INVERTED\))? *$", re.MULTILINE)
_CARRY = re.compile(r"_(CI|CI_TOP|DI|S|CYINIT|[A-H]X)(?:\[\d+\])?_(CO|O)(?:\[\d+\])?$")


@dataclass(frozen=True)
class RoutedPath:
    """One setup path.

    cells : (kind of cell and arc, ns). nets : (fan-out, whether it stays inside a slice or a
        block, ns). data_ns : all of them. requirement_ns : the clock that was asked for.
    speed : factor of the part's grade.
    """

    cells: tuple[tuple[str, float], ...]
    nets: tuple[tuple[int, bool, float], ...]
    data_ns: float
    requirement_ns: float
    speed: float

    @property
    def routed(self) -> int:
        """Nets that leave their slice or block."""
        return sum(not local for _, local, _ in self.nets)


def read_routed(text: str) -> list[RoutedPath]:
    """The different setup paths at the slow corner; [] for a report without a known grade."""
    grade = re.search(r"\| Speed File +: (-\w+)", text)
    speed = ns.SPEED.get(f"{grade[1]}-") if grade else None
    if grade and grade[1] == "-2L":
        speed = 1.0  # at 0.85 V
    if speed is None:
        return []
    paths = (_path(block, speed) for block in _STARTS.split(text)[1:])
    different: dict[tuple, RoutedPath] = {}
    for path in paths:
        if path is not None:
            kinds = tuple(kind for kind, _ in path.cells)
            fanouts = tuple(fanout for fanout, _, _ in path.nets)
            # The bits of a bus have paths that differ in their places alone.
            different.setdefault((kinds, fanouts), path)
    return list(different.values())


def _path(block: str, speed: float) -> RoutedPath | None:
    delay = re.search(r"Data Path Delay: +([\d.]+)ns", block)
    asked = re.search(r"Requirement: +([\d.]+)ns", block)
    parts = _RULE.split(block)
    if not (re.search(r"Path Type: +Setup \(Max", block) and delay and asked and len(parts) > 3):
        return None
    data = parts[2]
    found = sorted(
        [(m.start(), m) for m in _CELL.finditer(data)]
        + [(m.start(), m) for m in _NET.finditer(data)],
        key=lambda item: item[0],
    )
    items = [match for _, match in found]
    total = sum(float(m[4] if m.re is _CELL else m[2]) for m in items)
    last = _LAST.search(data, items[-1].end()) if items else None
    # Ports and cells that are not understood would make it another path.
    if last is None or abs(total - float(delay[1])) > 0.012:
        return None
    cells = tuple((_kind(m[2], m[3]), float(m[4])) for m in items if m.re is _CELL)
    nets = []
    for before, match, after in zip(items[:-1], items[1:], [*items[2:], last], strict=True):
        if match.re is _NET:
            nets.append((int(match[1]), _local(before, after), float(match[2])))
    if any(kind is None for kind, _ in cells) or not nets or items[0].re is not _CELL:
        return None
    return RoutedPath(cells, tuple(nets), float(delay[1]), float(asked[1]), speed)


def _local(before: re.Match, after: re.Match) -> bool:
    """Whether a net stays inside a slice or a block, or is a wire of its own between blocks."""
    driver, place, sink = before[2], before[1], after[2]
    if driver.startswith("DSP") and sink.startswith("DSP"):
        return place == after[1] or "PCOUT" in before[3]
    if sink.startswith("MUXF") or (driver == sink == "CARRY8" and place != after[1]):
        return True
    if driver.startswith("RAMB") and sink.startswith("RAMB"):
        return "CASD" in before[3]
    return driver.startswith("LUT") and sink == "CARRY8"


def _kind(type_: str, arc: str) -> str | None:
    """What the cell's delay depends on; None for a cell outside the fabric."""
    if type_.startswith("LUT"):
        return "LUT5 beside LUT6" if re.match("[A-H]5LUT", arc) else type_
    if type_ == "CARRY8":
        found = _CARRY.search(arc)
        if found is None:
            return None
        return f"CARRY8 {found[1] if found[1] in ('CI', 'DI') else 'S'}-{found[2]}"
    for begins, kind in (("FD", "FF"), ("MUXF", "MUXF"), ("RAMD", "RAM"), ("RAMS", "RAM")):
        if type_.startswith(begins):
            return kind
    if type_.startswith("RAMB"):
        return "RAMB cascade" if "_CASDIN" in arc else "RAMB"
    return type_ if type_.startswith(("DSP", "SRL")) else None


#: Kind of cell -> ns, where the reports' cells are those of the estimate.
_CELLS = {
    "FF": ns.CLOCK_TO_OUT,
    "MUXF": ns.MUX,
    "RAMB": ns.MEMORY_CLOCK_TO_OUT,
    "CARRY8 CI-CO": ns.CARRY_IN_TO_OUT,
    "CARRY8 CI-O": ns.CARRY_IN_TO_SUM,
    "CARRY8 S-CO": ns.SUM_IN_TO_CARRY,
    "CARRY8 DI-CO": ns.SUM_IN_TO_CARRY,
    "CARRY8 S-O": ns.SUM_IN_TO_SUM,
    "CARRY8 DI-O": ns.SUM_IN_TO_SUM,
    "LUT5 beside LUT6": ns.TABLE[5],
    **{f"LUT{inputs}": delay for inputs, delay in ns.TABLE.items()},
    "DSP_A_B_DATA": ns.DSP_INPUT,
    "DSP_ALU": ns.DSP_ALU,
    "DSP_OUTPUT": ns.DSP_OUTPUT,
}


def cell_delay(kind: str, measured: float) -> float:
    """ns at grade -2 by the constants; ``measured`` for a kind that they do not have."""
    return _CELLS.get(kind, measured)


def estimate_path(
    path: RoutedPath,
    cell: Callable[[str, float], float] = cell_delay,
    log_fanout: float = ns.NET_LOG_FANOUT,
    constant: float = ns.PATH,
) -> float:
    """ns of data that the estimate gives a path, from its cells and fan-outs alone."""
    cells = sum(cell(kind, delay / path.speed) for kind, delay in path.cells)
    nets = sum(
        ns.NET_LOCAL if local else ns.NET + log_fanout * log(max(fanout, 1))
        for fanout, local, _ in path.nets
    )
    return (constant + cells + nets) * path.speed
