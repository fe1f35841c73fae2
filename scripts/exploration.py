"""``nbqnn explore``: the search, and the files that it writes."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from hw.boards.registry import BOARDS, find_board
from hw.contract.files import write_text
from hw.explore import Budget, explore
from hw.explore.circuits import common_front
from hw.explore.results import CandidateResult, CircuitCandidate, ExplorationResult
from hw.spatial.candidates import find_circuits
from hw.synth.area_model import estimate_area
from nbqnn_train.graph import load
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.pages import page
from scripts.explore_pictures import explore_sections

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["BEST", "PICTURES", "run_exploration"]

BEST = "best.toml"
PICTURES = "explore.html"
#: File with which a stopped search goes on.
_JOURNAL = "cycles.jsonl"
#: Families that the area model is for: it was measured with the first; of the preset for the
#: other it is 0.9 % below Yosys in LUTs (34,790 of 35,093).
_FAMILIES = ("xcup", "xc7")


def run_exploration(
    graph: Path,
    board: str,
    out: Path,
    *,
    pe: str,
    clock_mhz: int,
    lut_percent: float,
    bram_percent: float,
    most: int,
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExplorationResult:
    """Searches. Writes the best configuration and the pictures to the folder ``out``.

    Cycles that an earlier search for the same graph counted in this folder are not counted again.
    Ctrl-C ends the search with what it has so far. With a cluster, its workers compile.
    """
    target = find_board(board)
    able = [one.name for one in BOARDS.values() if one.family in _FAMILIES and one.memory]
    if board not in able:
        raise NbqnnError(f"board for explore must be one of {', '.join(able)}, not {board!r}")
    if pe not in ("shift", "multiply"):
        raise NbqnnError(f"pe must be one of shift, multiply, not {pe!r}")
    budget = Budget.of(target, lut_percent / 100, bram_percent / 100)
    found = explore(
        graph,
        board,
        budget,
        target.memory,
        estimate_area,
        pe=pe,
        clock_mhz=clock_mhz,
        data_width=target.presets[0].axi_data_width,
        address_width=target.presets[0].axi_address_width,
        most=most,
        cluster=cluster,
        progress=progress,
        journal=out / _JOURNAL,
    )
    circuits = find_circuits(load(graph), budget.lut, clock_mhz)
    worth = {candidate.config.digest for candidate in found.front}
    common, intervals = common_front(found.front, circuits.found)
    result = ExplorationResult(
        graph=str(graph),
        board=board,
        budget=budget,
        compiled=found.compiled,
        considered=found.considered,
        complete=found.complete,
        best=found.best.config.name,
        candidates=tuple(
            CandidateResult.of(
                candidate, candidate.config.digest in worth, candidate.config.digest in common
            )
            for candidate in found.candidates
        ),
        circuits=tuple(
            CircuitCandidate.of(circuit, circuit.interval in intervals)
            for circuit in circuits.found
        ),
        no_circuits=circuits.reason,
    )
    write_text(out / BEST, tomli_w.dumps(asdict(found.best.config)))
    title = f"Configurations of {board} for {graph.name}"
    note = (
        f"Cycles by the compiler and its cycle model, area by a model fitted to syntheses; "
        f"{found.compiled} configurations compiled. They may take {lut_percent:g} % of the board's "
        f"LUTs, {budget.lut:,}, and {bram_percent:g} % of its BRAM36, {budget.bram36:,}. A "
        "circuit has the network's weights as wiring (generate --spatial); its area is estimated."
    )
    write_text(out / PICTURES, page(title, explore_sections(result), note))
    return result
