"""nextpnr's report: utilization, the clock that was reached, the path that limits it."""

import json
from dataclasses import dataclass
from pathlib import Path

from hw.synth.area import Area
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["NextpnrReport", "read_nextpnr_report"]

#: Parts of a cell's name, after the component, that Yosys and nextpnr add.
_CELL_MARKS = ("_LUT4", "_TRELLIS", "_CCU2C", "_PFUMX", "_L6MUX21", "_DP16KD")


@dataclass(frozen=True, kw_only=True)
class NextpnrReport:
    """A routed design.

    fmax_mhz : highest frequency of the slowest clock.
    critical_path : ``from`` and ``to`` are component and register, ``delay_ns`` is the sum of
        ``logic_ns`` and ``routing_ns``.
    """

    area: Area
    fmax_mhz: float
    critical_path: dict[str, str | float]


def read_nextpnr_report(path: Path) -> NextpnrReport:
    """Reads the JSON that ``nextpnr-ecp5 --report`` wrote.

    Raises :exc:`NbqnnError` for a file that is missing, cut off or something else.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        used = {cell: content["used"] for cell, content in report["utilization"].items()}
        clocks = {name: float(clock["achieved"]) for name, clock in report["fmax"].items()}
        slowest = min(clocks, key=clocks.get)
        paths = [
            entry
            for entry in report["critical_paths"]
            if slowest in entry["from"] and slowest in entry["to"]
        ]
        segments = paths[0]["path"]
        logic = sum(part["delay"] for part in segments if part["type"] != "routing")
        routing = sum(part["delay"] for part in segments if part["type"] == "routing")
        ends = segments[0]["from"]["cell"], segments[-1]["to"]["cell"]
        area = Area(
            lut=used["TRELLIS_COMB"],
            ff=used["TRELLIS_FF"],
            bram36=used.get("DP16KD", 0) / 2,
            dsp=used.get("MULT18X18D", 0),
        )
    except OSError as error:
        raise NbqnnError(f"report {path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise NbqnnError(f"report {path} must be a whole report of nextpnr-ecp5") from None
    return NextpnrReport(
        area=area,
        fmax_mhz=round(clocks[slowest], 2),
        critical_path={
            "from": _component(ends[0]),
            "to": _component(ends[1]),
            "delay_ns": round(logic + routing, 2),
            "logic_ns": round(logic, 2),
            "routing_ns": round(routing, 2),
        },
    )


def _component(cell: str) -> str:
    """The hierarchical name at the beginning of a cell's name."""
    for mark in _CELL_MARKS:
        cell = cell.split(mark)[0]
    return cell
