"""A configuration with what it costs and how fast it is, and which of them are worth having."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig

__all__ = ["Budget", "Candidate", "beaten", "front", "in_order"]

#: Two configurations within that share of each other's cost count as equal in a front.
_SAME = 0.01


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an accelerator may take of a board: the rest is room for routing and for others."""

    lut: int
    ff: int
    bram36: float
    dsp: int

    @classmethod
    def of(cls, board: Board, lut_share: float = 0.75, bram_share: float = 0.85) -> "Budget":
        """Shares of 0...1; registers and multipliers up to all there are."""
        return cls(
            lut=int(board.lut * lut_share),
            ff=board.ff,
            bram36=int(board.bram36 * bram_share),
            dsp=board.dsp,
        )

    def holds(self, area) -> bool:
        return all(getattr(area, name) <= limit for name, limit in asdict(self).items())


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One configuration: ``cycles`` of an image by the cycle model, area by the area model."""

    config: AcceleratorConfig
    cycles: int
    macs: int
    lut: int
    ff: int
    bram36: float
    dsp: int

    @property
    def costs(self) -> tuple[float, ...]:
        """What is to be small: time, tables, memories."""
        return (self.cycles, self.lut, self.bram36)

    @property
    def seconds(self) -> float:
        """Of an image, from start to done."""
        return self.cycles / (self.config.clock_mhz * 1e6)

    @property
    def gops(self) -> float:
        """Two operations for each nominal multiply-accumulate."""
        return 2e-9 * self.macs / self.seconds

    @property
    def utilization(self) -> float:
        return self.macs / (self.cycles * self.config.multiplies_per_cycle)


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The fastest first; of those that cost the same the one with the smallest memories."""

    def words(config: AcceleratorConfig) -> int:
        return config.act_depth + config.weight_depth + config.param_depth

    return sorted(candidates, key=lambda c: (c.costs, words(c.config), c.config.digest))


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that are worth having, the fastest first.

    Every other candidate is beaten by one of them: it is no better in time, tables and memories, or
    hardly better.
    """
    chosen: list[Candidate] = []
    for candidate in in_order(candidates):
        if not beaten(candidate.costs, chosen):
            chosen.append(candidate)
    return chosen


def beaten(costs: Sequence[float], candidates: Iterable[Candidate]) -> bool:
    """Whether one of the candidates costs no more than ``costs`` in any respect, or hardly more."""
    limits = [cost * (1 + _SAME) for cost in costs]
    return any(
        all(cost <= limit for cost, limit in zip(candidate.costs, limits, strict=True))
        for candidate in candidates
    )
