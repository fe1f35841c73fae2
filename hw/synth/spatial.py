"""Area of a network that is a circuit of its own, with Yosys."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from hw.boards.board import Board
from hw.spatial.build import read_spatial, spatial_verilog
from hw.synth.area import ModuleAreas
from hw.synth.mapping import map_modules

__all__ = ["synth_spatial"]


def synth_spatial(
    build: Path, board: Board, progress: Callable[[str], None] = lambda step: None
) -> dict:
    """Maps the whole circuit at once and counts cells; a result as :func:`synth_yosys` gives it.

    The array is the whole circuit, its lanes are the network's weights. ``estimated_mhz`` is an
    estimate by additions between registers, ``clock_mhz`` the clock asked for.
    """
    described, _ = read_spatial(build)
    verilog, top = spatial_verilog(build, board.family)
    log = Path(build) / f"yosys-{board.name}.log"
    cells, version = map_modules(verilog, top, board.family, keep=set(), log=log, progress=progress)
    total = ModuleAreas(cells, board.family).of(top)
    return {
        "kind": "synth",
        "tool": "yosys",
        "tool_version": version,
        "board": board.name,
        "part": board.part,
        **asdict(total),
        "share": {
            resource: round(100 * amount / getattr(board, resource), 2)
            for resource, amount in asdict(total).items()
        },
        "array": {
            **asdict(total),
            "lanes": described.weights,
            "lut_per_lane": round(total.lut / described.weights, 2),
            "dsp_per_lane": round(total.dsp / described.weights, 4),
        },
        "clock_mhz": described.clock_mhz,
        "estimated_mhz": described.estimated_mhz,
        "latency": described.latency,
    }
