"""What a search for configurations leaves: JSON that the report reads again."""

from dataclasses import dataclass
from typing import ClassVar

from hw.contract.config import AcceleratorConfig
from hw.explore.candidates import Budget, Candidate
from nbqnn_train.graph.results import Result

__all__ = ["CandidateResult", "ExplorationResult"]


@dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """A configuration that runs, with what it costs; ``pareto`` says that it is worth having."""

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

    @classmethod
    def of(cls, candidate: Candidate, pareto: bool) -> "CandidateResult":
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
        )


@dataclass(frozen=True, kw_only=True)
class ExplorationResult(Result):
    """A whole search.

    compiled, considered : how many configurations have cycles, and how many an area.
    complete : the search was not interrupted.
    best : name of the fastest configuration.
    candidates : the fastest first.
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
