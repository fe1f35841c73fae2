"""Runs images on the Verilated accelerator and compares them, in pieces that can run anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hw.contract.images import by_input
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Port, Program
from hw.driver import AcceleratorError, Driver, RunResult, memory_bytes
from hw.tools.work import HereWork, Work
from nbqnn_train.graph import Graph, run
from sim.bus import Trace, VerilatedBus
from sim.verilated import SimulationError
from sim.watch import Watched

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = [
    "Comparison",
    "Simulation",
    "compare_images",
    "compare_in_pieces",
    "compare_piece",
    "images_of_run",
    "longest_run",
    "open_driver",
]

#: Number of images that the interpreter computes together.
_BATCH = 64
#: Cycles of a piece that has several runs: about a second of simulation.
_PIECE_CYCLES = 100_000


@dataclass(frozen=True)
class Simulation:
    """What all runs have in common.

    verilog : the accelerator's.
    max_cycles : longest wait for a run's end.
    """

    program: Program
    verilog: str
    timing: MemoryTiming
    max_cycles: int


@dataclass(frozen=True)
class Comparison:
    """Runs up to the first one with a wrong code, or to one that failed.

    wrong : number of the first wrong image.
    error : message of the run that failed.
    complete : False if an interrupt from the keyboard ended it.
    seen : what was seen of the first run.
    """

    runs: tuple[RunResult, ...]
    wrong: int | None = None
    error: str | None = None
    complete: bool = True
    seen: Watched | None = None


def compare_in_pieces(
    simulation: Simulation,
    x: np.ndarray,
    run_cycles: int,
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compares images with the interpreter's, here one after the other or on a cluster.

    Each piece has an accelerator and a memory of its own, which begin afresh: results depend
    neither on where it runs nor on what ran before. ``run_cycles`` of a run say, roughly, how many
    runs are a piece. An interrupt from the keyboard leaves the pieces in front of the first one
    that is not done.
    """
    step = simulation.program.batch * min(
        max(1, _PIECE_CYCLES // max(1, run_cycles)), max(1, _BATCH // simulation.program.batch)
    )
    done = 0

    def arrived(number: int, piece: Comparison) -> None:
        nonlocal done
        done += min(step, len(x) - number * step)
        if progress is not None:
            progress(done, len(x))

    runs: list[RunResult] = []
    work: Work[tuple[np.ndarray, bool], Comparison] = (
        HereWork(compare_piece, simulation)
        if cluster is None
        else cluster.work(compare_piece, simulation)
    )
    pieces = ((x[begin : begin + step], begin == 0) for begin in range(0, len(x), step))
    seen = None
    try:
        with work:
            for number, piece in enumerate(work.results(pieces, arrived)):
                runs += piece.runs
                seen = seen or piece.seen
                if piece.wrong is not None or piece.error is not None:
                    wrong = None if piece.wrong is None else number * step + piece.wrong
                    return Comparison(tuple(runs), wrong, piece.error, seen=seen)
    except KeyboardInterrupt:
        if not runs:
            raise
        return Comparison(tuple(runs), complete=False, seen=seen)
    return Comparison(tuple(runs), seen=seen)


def compare_piece(simulation: Simulation, piece: tuple[np.ndarray, bool]) -> Comparison:
    """Runs images on a new accelerator, up to the first wrong one.

    ``piece`` is the images, and whether the first run is watched.
    """
    program = simulation.program
    images, watched = piece
    bus, driver = open_driver(
        program, simulation.verilog, simulation.timing, simulation.max_cycles, watched=watched
    )
    runs: list[RunResult] = []
    with bus:
        try:
            wrong = _compare(driver, program, images, None, runs)
        except (AcceleratorError, SimulationError) as failure:
            return Comparison(tuple(runs), error=str(failure), seen=bus.seen)
    return Comparison(tuple(runs), wrong[0] if wrong else None, seen=bus.seen)


def open_driver(
    program: Program,
    verilog: str,
    timing: MemoryTiming | None = None,
    max_cycles: int | None = None,
    trace: Trace | None = None,
    watched: bool = False,
) -> tuple[VerilatedBus, Driver]:
    """A Verilated accelerator with the program loaded. The caller closes the bus.

    ``verilog`` is the accelerator's, ``max_cycles`` the longest wait for its interrupt. The first
    run is traced, or watched, if that is asked for.
    """
    bus = VerilatedBus(
        program.config,
        verilog,
        memory_bytes=memory_bytes(program),
        max_cycles=longest_run(program) if max_cycles is None else max_cycles,
        timing=timing,
        trace=trace,
        watched=watched,
    )
    return bus, Driver(bus, program)


def longest_run(program: Program, estimate: float = 0) -> int:
    """Upper limit for the cycles of a run, far above those of any run that does not hang.

    ``estimate`` is the cycle model's, for a memory that may be as slow as it likes.
    """
    macs = sum(layer.macs for layer in program.layers)
    return 200_000 + 8 * macs + 100 * memory_bytes(program) + round(4 * estimate)


def compare_images(
    driver: Driver,
    program: Program,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[RunResult], list[int]]:
    """Runs images up to the first one with a code that differs from the interpreter's.

    Returns the results of the runs, and a list with the number of that image. The list is empty if
    all codes are equal.
    """
    results: list[RunResult] = []
    wrong = _compare(driver, program, x, progress, results)
    return results, wrong


def _compare(
    driver: Driver,
    program: Program,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None,
    results: list[RunResult],
) -> list[int]:
    """Like :func:`compare_images`. Runs are added to ``results``, which has them if one fails."""
    step = program.batch * max(1, _BATCH // program.batch)
    for start in range(0, len(x), step):
        expected = _expected(program.graph, x[start : start + step], program.outputs)
        for begin in range(start, min(start + step, len(x)), program.batch):
            group = images_of_run(program, x, begin)
            result = driver.run(group)
            results.append(result)
            for index in range(len(group)):
                if any(
                    not np.array_equal(
                        result.outputs[name][index].reshape(-1),
                        codes[begin - start + index].reshape(-1),
                    )
                    for name, codes in expected.items()
                ):
                    return [begin + index]
            if progress is not None:
                progress(begin + len(group), len(x))
    return []


def _expected(graph: Graph, batch: np.ndarray, ports: tuple[Port, ...]) -> dict[str, np.ndarray]:
    trace = run(graph, by_input(graph, batch), trace=True)
    return {port.name: trace[port.name] for port in ports}


def images_of_run(program: Program, x: np.ndarray, index: int) -> np.ndarray:
    """The images of the run that image ``index`` belongs to."""
    begin = index // program.batch * program.batch
    return x[begin : begin + program.batch]
