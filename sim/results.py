"""What a simulation found: cycles, differences, and what the cycle model says."""

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
    """The first code that is not the interpreter's.

    position : row and column; a vector has none.
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

    estimated_cycles : of the cycle model.
    bytes : to and from the memory, of the layer's own loads and stores.
    moved : to and from the memory while the layer runs, by the cycle model.
    """

    name: str
    cycles: float
    macs: int
    utilization: float
    estimated_cycles: int | None = None
    bytes: int | None = None
    moved: int | None = None


@dataclass(frozen=True, kw_only=True)
class SimulationResult(Result):
    """Images on the accelerator, compared with the interpreter.

    images : that ran, up to the run with the first wrong one.
    batch : images of a run.
    mismatches : images with a wrong code; a run that failed counts as one.
    stalls : cycles per image in which the array stands still, by the names of
        :class:`hw.contract.causes.Stall`.
    utilization : of the array, over the whole run.
    macs_per_cycle, bytes_per_cycle : what array and memory can do at most.
    error : what a run failed with; None if all came to their end.
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
    build: dict | None = None
    as_generated: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CircuitDifference:
    """The first code of a circuit that is not the interpreter's."""

    image: int
    output: int
    expected: int
    actual: int


@dataclass(frozen=True, kw_only=True)
class CircuitSimulationResult(Result):
    """Vectors through a circuit, compared with the interpreter, at full rate and with stalls.

    mismatches : images with a wrong code in either run.
    latency : cycles from an image's first beat to its first result, at full rate.
    clock_mhz, estimated_mhz : what is asked for, and what the circuit should reach.
    """

    kind: ClassVar[str] = "simulate-circuit"

    images: int
    mismatches: int
    first_mismatch: CircuitDifference | None
    latency: int
    cycles_per_image: float
    clock_mhz: int
    estimated_mhz: float
