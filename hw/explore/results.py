"""The result of a search for configurations, as JSON that the report reads."""

from dataclasses import dataclass
from typing import ClassVar

from hw.contract.config import AcceleratorConfig
from hw.explore.candidates import Budget, Candidate
from hw.spatial.circuit import Circuit
from nbqnn_train.graph.results import Result

__all__ = ["CandidateResult", "CircuitCandidate", "ExplorationResult"]


@dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """A configuration that runs, with its costs.

    ``pareto`` says that it is worth having among configurations, ``common_front`` that it is among
    configurations and circuits together.
    """

    config: AcceleratorConfig
    cycles: int
    latency_ms: float
    images_per_second: float
    gops: float
    utilization: float
    lut: int
    ff: int
    bram36: float
    dsp: int
    pareto: bool
    common_front: bool = True

    @classmethod
    def of(cls, candidate: Candidate, pareto: bool, common_front: bool) -> "CandidateResult":
        return cls(
            config=candidate.config,
            cycles=candidate.cycles,
            latency_ms=1e3 * candidate.seconds,
            images_per_second=1 / candidate.seconds,
            gops=candidate.gops,
            utilization=candidate.utilization,
            lut=candidate.lut,
            ff=candidate.ff,
            bram36=candidate.bram36,
            dsp=candidate.dsp,
            pareto=pareto,
            common_front=common_front,
        )


@dataclass(frozen=True, kw_only=True)
class CircuitCandidate:
    """The network as a circuit of its own (``generate --spatial``), tables estimated.

    ``latency_ms`` is the time from an image's start to its first result. ``common_front`` says that
    the circuit is worth having among configurations and circuits together.
    """

    interval: int
    cycles: int
    clock_mhz: int
    latency_ms: float
    images_per_second: float
    lut: int
    common_front: bool

    @classmethod
    def of(cls, circuit: Circuit, common_front: bool) -> "CircuitCandidate":
        return cls(
            interval=circuit.interval,
            cycles=circuit.cycles,
            clock_mhz=circuit.clock_mhz,
            latency_ms=circuit.latency / (1e3 * circuit.clock_mhz),
            images_per_second=1 / circuit.seconds,
            lut=circuit.lut,
            common_front=common_front,
        )


@dataclass(frozen=True, kw_only=True)
class ExplorationResult(Result):
    """A whole search.

    compiled, considered : numbers of configurations that were compiled, and whose area is known.
    complete : whether the search was not interrupted.
    best : name of the fastest configuration.
    candidates : configurations, the fastest first.
    circuits : the network as a circuit of its own, the fastest first.
    no_circuits : why there are no more circuits; None if all that were tried fit.
    """

    kind: ClassVar[str] = "explore"

    graph: str
    board: str
    budget: Budget
    compiled: int
    considered: int
    complete: bool
    best: str
    candidates: tuple[CandidateResult, ...]
    circuits: tuple[CircuitCandidate, ...] = ()
    no_circuits: str | None = None
