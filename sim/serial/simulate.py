"""Runs programs on a mapped netlist, over its serial line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hw.boards.registry import BOARDS
from hw.contract.images import checked_images
from hw.contract.origin import check_same_build
from hw.contract.program import load_program
from hw.driver import Driver, UartBus
from hw.synth.build import ORIGIN, read_origin
from nbqnn_train.graph.errors import NbqnnError
from sim.results import SimulationResult
from sim.runs import compare_images
from sim.serial.board import VerilatedBoard
from sim.serial.netlist import netlist_with_models
from sim.simulate import first_difference, summary

__all__ = ["simulate_netlist"]

#: Clock cycles per bit on the line. The fewest that the board allows simulate fastest.
_DIVISOR = 4
#: Seconds of real time after which a run is said to hang.
_TIME_LIMIT_S = 600.0


def simulate_netlist(
    path: Path,
    x: np.ndarray,
    netlist: Path,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Like :func:`sim.simulate.simulate`, on the netlist that is placed and routed.

    The images go through the pins: the board's host interface is part of the netlist.

    Parameters
    ----------
    path : program file
    x : images, float32 (N, C, H, W)
    netlist : ``netlist.v`` of :func:`hw.synth.synth_nextpnr`
    """
    program = load_program(path)
    x = checked_images(program.graph, x)
    try:
        text = netlist.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise NbqnnError(f"netlist {str(netlist)!r} cannot be read: {reason}") from None
    tops = [board.shell.top for board in BOARDS.values() if board.shell is not None]
    top = next((name for name in tops if f"\nmodule {name}(" in text), None)
    if top is None:
        raise NbqnnError(
            f"netlist {str(netlist)!r} must hold module {' or '.join(tops)}, but does not"
        )
    made_from = netlist.parent / ORIGIN
    if made_from.is_file():
        check_same_build(
            "the program",
            program.build,
            f"netlist {str(netlist)!r}",
            read_origin(made_from),
            "compile it for the netlist's build",
        )
    clock_hz = program.config.clock_mhz * 1_000_000
    models = netlist_with_models(text)
    with VerilatedBoard(models, top, clock_hz=clock_hz, optimize="-O1") as board:
        bus = UartBus(board, baud=clock_hz // _DIVISOR, time_limit_s=_TIME_LIMIT_S)
        results, wrong = compare_images(Driver(bus, program), program, x, progress)
    mismatch = None
    if wrong:
        first = wrong[0]
        mismatch = first_difference(program, x[first : first + 1], first, results[first])
    return summary(program, results, len(wrong), mismatch)
