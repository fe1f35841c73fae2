"""Area of a network that is a circuit of its own, with Yosys."""

from collections.abc import Callable
from pathlib import Path

from hw.boards.board import Board
from hw.spatial.build import read_spatial, spatial_verilog
from hw.synth.area import ModuleAreas
from hw.synth.mapping import map_design
from hw.synth.power import power_fields
from hw.synth.results import SynthResult, synth_result

__all__ = ["synth_spatial"]


def synth_spatial(
    build: Path, board: Board, progress: Callable[[str], None] = lambda step: None
) -> SynthResult:
    """Maps the whole circuit at once and counts cells.

    In the result the array is the whole circuit, and its lanes are the network's weights.
    ``estimated_mhz`` follows from the additions between registers; ``clock_mhz`` was requested.
    """
    described, _ = read_spatial(build)
    verilog, top = spatial_verilog(build, board.family)
    log = Path(build) / f"yosys-{board.name}.log"
    mapped = map_design(verilog, top, board.family, keep=set(), log=log, progress=progress)
    total = ModuleAreas(mapped.cells, board.family).of(top)
    return synth_result(
        "yosys",
        mapped.version,
        board,
        total,
        total,
        described.weights,
        clock_mhz=described.clock_mhz,
        estimated_mhz=described.estimated_mhz,
        latency=described.latency,
        **power_fields(total, described.clock_mhz, board),
    )
