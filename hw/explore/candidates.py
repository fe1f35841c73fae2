"""Configurations with their area and time, and the choice of those that are worth having."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig

__all__ = ["Budget", "Candidate", "beaten", "front", "in_order"]

#: In a front costs that differ by at most this share count as equal.
_SAME = 0.01


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The resources of a board that an accelerator may take. The rest is for routing and others."""

    lut: int
    ff: int
    bram36: float
    dsp: int

    @classmethod
    def of(
        cls,
        board: Board,
        lut_share: float = 0.75,
        bram_share: float = 0.85,
        dsp_share: float = 0.9,
    ) -> "Budget":
        """Given shares (0 to 1) of tables, memories and multipliers, and all registers."""
        return cls(
            lut=int(board.lut * lut_share),
            ff=board.ff,
            bram36=int(board.bram36 * bram_share),
            dsp=int(board.dsp * dsp_share),
        )

    def holds(self, area) -> bool:
        return all(getattr(area, name) <= limit for name, limit in asdict(self).items())


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration, its ``cycles`` for an image and its area, both by the models."""

    config: AcceleratorConfig
    cycles: int
    macs: int
    lut: int
    ff: int
    bram36: float
    dsp: int

    @property
    def costs(self) -> tuple[float, ...]:
        """The figures that should be small: time, tables, memories."""
        return (self.cycles, self.lut, self.bram36)

    @property
    def seconds(self) -> float:
        """Seconds for an image, from start to done."""
        return self.cycles / (self.config.clock_mhz * 1e6)

    @property
    def gops(self) -> float:
        """10^9 operations a second: two for each nominal multiply-accumulate."""
        return 2e-9 * self.macs / self.seconds

    @property
    def utilization(self) -> float:
        return self.macs / (self.cycles * self.config.multiplies_per_cycle)


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates, the fastest first. Among equal costs the smallest memories come first."""

    def words(config: AcceleratorConfig) -> int:
        return config.act_depth + config.weight_depth + config.param_depth

    return sorted(candidates, key=lambda c: (c.costs, words(c.config), c.config.digest))


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that are worth having, the fastest first.

    Each of the other candidates is beaten by one of them, which is better, equal or hardly worse in
    time, tables and memories.
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
