"""Results of simulations: cycles, differences, and the cycles of the model."""

from dataclasses import dataclass
from typing import ClassVar

from nbqnn_train.graph.results import Result

__all__ = [
    "CircuitDifference",
    "CircuitSimulationResult",
    "FirstDifference",
    "LayerResult",
    "SimulationResult",
]


@dataclass(frozen=True, kw_only=True)
class FirstDifference:
    """The first code that differs from the interpreter's.

    position : row and column; empty for a vector.
    cycles : begin and end of the layer in the run.
    """

    image: int
    layer: str
    channel: int
    position: tuple[int, ...]
    expected: int
    actual: int
    cycles: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """One layer of one image: means over the images of whole runs.

    estimated_cycles : cycles by the cycle model.
    bytes : bytes to and from the memory of the layer's own loads and stores.
    moved : bytes to and from the memory while the layer runs, by the cycle model.
    windows : "load", "compute", "store" -> begin and end of that engine's work for the layer in the
        first run, in cycles from its start, as seen on the RTL (:mod:`sim.schedule`); of a batch
        begin, end, begin, end and so on. ``estimated_windows`` are those of the cycle model.
    """

    name: str
    cycles: float
    macs: int
    utilization: float
    estimated_cycles: int | None = None
    bytes: int | None = None
    moved: int | None = None
    windows: dict[str, tuple[int, ...]] | None = None
    estimated_windows: dict[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class SimulationResult(Result):
    """Images on the accelerator, compared with the interpreter.

    images : images that ran, up to the run with the first wrong one.
    batch : images of a run.
    mismatches : images with a wrong code; a run that failed counts as one.
    stalls : cycles per image without a step of the array, by the names of
        :class:`hw.contract.causes.Stall`.
    utilization : of the array, over the whole run.
    macs_per_cycle, bytes_per_cycle : what array and memory can do at most.
    error : message of the run that failed; None if all runs ended.
    complete : False if it was interrupted; ``images`` ran until then.
    build : what the RTL was made from (:class:`hw.contract.origin.Origin`).
    as_generated : False if the build's Verilog was changed since it was generated.
    """

    kind: ClassVar[str] = "simulate"

    images: int
    batch: int
    mismatches: int
    first_mismatch: FirstDifference | None
    cycles_per_image: float
    stalls: dict[str, float]
    clock_mhz: int
    macs_per_cycle: int
    utilization: float
    layers: tuple[LayerResult, ...]
    estimated_cycles: int | None = None
    estimated_stalls: dict[str, int] | None = None
    bytes_per_cycle: float | None = None
    error: str | None = None
    complete: bool = True
    build: dict | None = None
    as_generated: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CircuitDifference:
    """The first code of a circuit that differs from the interpreter's."""

    image: int
    output: int
    expected: int
    actual: int


@dataclass(frozen=True, kw_only=True)
class CircuitSimulationResult(Result):
    """Vectors through a circuit, compared with the interpreter, at full rate and with stalls.

    mismatches : images with a wrong code in either run.
    latency : cycles from an image's first beat to its first result, at full rate.
    clock_mhz, estimated_mhz : the clock that is asked for, and the one the circuit should reach.
    """

    kind: ClassVar[str] = "simulate-circuit"

    images: int
    mismatches: int
    first_mismatch: CircuitDifference | None
    latency: int
    cycles_per_image: float
    clock_mhz: int
    estimated_mhz: float
