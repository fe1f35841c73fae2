"""Runs vectors through a build's circuit and compares every code with the interpreter's."""

from pathlib import Path

import numpy as np

from hw.spatial.build import read_spatial
from nbqnn_train.graph import quantize_input, run_codes
from sim.results import CircuitDifference, CircuitSimulationResult
from sim.spatial.stream import run_stream

__all__ = ["simulate_spatial"]

#: Chances of a pause of source and of sink, in both runs.
_STALLS = ((0.0, 0.0), (0.3, 0.4))


def simulate_spatial(build: Path, x: np.ndarray) -> CircuitSimulationResult:
    """Streams inputs (N, ...), float32, through the RTL, at full rate and with random stalls."""
    described, graph = read_spatial(build)
    node = graph.input_nodes[0]
    codes = quantize_input(node, x)
    expected = run_codes(graph, {node.name: codes})
    expected = expected.reshape(len(x), -1)
    runs = [run_stream(build, described, codes, source_stall=a, sink_stall=b) for a, b in _STALLS]
    wrong = np.zeros(len(x), bool)
    first = None
    for result in runs:
        different = result.codes != expected
        wrong |= different.any(axis=1)
        if first is None and different.any():
            image, output = (int(i) for i in np.argwhere(different)[0])
            first = CircuitDifference(
                image=image,
                output=output,
                expected=int(expected[image, output]),
                actual=int(result.codes[image, output]),
            )
    full = runs[0]
    return CircuitSimulationResult(
        images=len(x),
        mismatches=int(wrong.sum()),
        first_mismatch=first,
        latency=int(full.left[0, 0] - full.entered[0, 0]),
        cycles_per_image=_rate(full.entered[:, 0], described.cycles_per_image),
        clock_mhz=described.clock_mhz,
        estimated_mhz=described.estimated_mhz,
    )


def _rate(entered: np.ndarray, expected: int) -> float:
    """Cycles from one image's first beat to the next's; for a single image ``expected``."""
    if len(entered) < 2:
        return float(expected)
    return float(entered[-1] - entered[0]) / (len(entered) - 1)
