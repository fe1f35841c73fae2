"""``nbqnn generate --spatial``: from a graph file to a build folder, and its texts."""

from collections.abc import Callable
from pathlib import Path

from hw.boards.registry import find_board
from hw.spatial.build import GRAPH, SpatialBuild, generate_spatial
from nbqnn_train.graph import load
from nbqnn_train.inputs.meaning import meaning_file, read_meaning, write_meaning
from sim.results import CircuitSimulationResult

__all__ = ["describe_build", "generate_circuit", "spatial_lines"]


def generate_circuit(
    graph: Path,
    out: Path,
    clock_mhz: int,
    interval: int,
    board: str,
    progress: Callable[[str], None],
) -> SpatialBuild:
    """Builds the circuit of the graph in the file ``graph``, if it fits the board.

    What inputs and outputs mean is kept beside the build's graph, if it is known.
    """
    network = load(graph)
    meaning = read_meaning(meaning_file(graph), network)
    described = generate_spatial(
        network,
        out,
        clock_mhz,
        interval,
        find_board(board).lut,
        lambda layer: progress(f"layer {layer}"),
    )
    write_meaning(meaning_file(out / GRAPH), meaning, network)
    return described


def describe_build(described: SpatialBuild, out: Path) -> str:
    """One line on what was generated."""
    nanoseconds = 1000 * described.latency / described.clock_mhz
    rate = 1e6 * described.clock_mhz / described.cycles_per_image
    return (
        f"{described.weights:,} weights as {described.additions:,} additions, about "
        f"{described.tables:,} look-up tables; {_cycles(described.cycles_per_image)} an image, "
        f"{rate:,.0f} images/s; latency {described.latency} cycles, {nanoseconds:.1f} ns at "
        f"{described.clock_mhz} MHz (estimated to reach {described.estimated_mhz:.0f} MHz); "
        f"build in {out}"
    )


def _cycles(count: int) -> str:
    return "one cycle" if count == 1 else f"{count:,} cycles"


def spatial_lines(result: CircuitSimulationResult) -> list[str]:
    """The result of a circuit's simulation, line by line."""
    lines = [
        f"{result.images} images, {result.mismatches} mismatches, at full rate and with "
        f"stalls; {result.cycles_per_image:.2f} cycles per image, latency {result.latency}"
    ]
    if first := result.first_mismatch:
        lines.append(
            f"first difference: image {first.image}, output {first.output}: "
            f"{first.actual}, not {first.expected}"
        )
    return lines
