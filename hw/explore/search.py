"""Finds the configurations that are worth having: area first, then cycles, then their neighbours.

What does not fit the board is never compiled, nor what could not be better than something known
even if its array never waited. From the rest of a coarse grid on, the search goes on to the
neighbours of the best, until there are no new ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hw.compiler.errors import CompileError
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
from hw.explore.bound import Work, least_cycles, work_of
from hw.explore.candidates import Budget, Candidate, beaten, front
from hw.explore.evaluate import Evaluator
from hw.explore.journal import Journal
from hw.explore.requirements import base_config
from hw.explore.space import grid, neighbours
from nbqnn_train.graph import graph_digest, load, validate

__all__ = ["Exploration", "explore"]

#: Configurations that are compiled side by side before the next are chosen. Not the number of
#: cores, on which results must not depend.
_ROUND = 16
#: Configurations whose neighbours are looked at together.
_TOGETHER = 4
_DEEPEST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """All candidates that ran, the fastest first; ``front`` are those worth having.

    ``compiled`` and ``considered`` count configurations: those with cycles, or the reason why they
    do not run; and those with an area. One that is not ``complete`` was interrupted.
    """

    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    compiled: int
    considered: int
    complete: bool = True

    @property
    def best(self) -> Candidate:
        return self.front[0]


def explore(
    path: Path,
    board: str,
    budget: Budget,
    memory: BoardMemory,
    area: Callable[[AcceleratorConfig], object],
    *,
    pe: str = "shift",
    clock_mhz: int = 250,
    most: int = 300,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: Path | None = None,
) -> Exploration:
    """Searches for a graph file's best configurations.

    An interrupt from the keyboard ends the search with what it has, if that is anything.

    Parameters
    ----------
    path : Path
        The graph.
    board : str
        Begins the configurations' names.
    budget : Budget
    memory : BoardMemory
    area : callable
        Configuration -> object with ``lut``, ``ff``, ``bram36``, ``dsp``.
    pe, clock_mhz
        Fields of all configurations.
    most : int
        Configurations that are compiled at most.
    processes : int, optional
        All cores unless said otherwise.
    progress : callable, optional
        Called with the number of compiled configurations, and ``most``.
    journal : Path, optional
        Keeps the cycles that are counted; a search for the same graph takes them from there.

    Raises
    ------
    CompileError
        No configuration that fits runs the graph; the message has the last reason.
    """
    graph = load(path)
    validate(graph)
    base = base_config(graph, pe, clock_mhz)
    kept = Journal(journal, (graph_digest(graph), repr(memory)))
    complete = False
    with Evaluator(path, memory, kept, processes) as evaluator:
        search = _Search(work_of(graph), budget, area, evaluator, most, progress)
        try:
            search.shapes(grid(base, board))
            if not search.found:
                raise CompileError(
                    f"no configuration of at most {budget.lut:,} LUTs and {budget.bram36:,} BRAM36 "
                    f"runs the graph: {search.reason}"
                )
            search.refine(board)
            complete = True
        except KeyboardInterrupt:
            if not search.found:
                raise
        found = sorted(search.found, key=lambda c: (c.costs, c.config.digest))
        return Exploration(
            candidates=tuple(found),
            front=tuple(front(found)),
            compiled=search.compiled,
            considered=len(search.areas),
            complete=complete,
        )


class _Search:
    def __init__(
        self,
        work: tuple[Work, ...],
        budget: Budget,
        area: Callable[[AcceleratorConfig], object],
        evaluator: Evaluator,
        most: int,
        progress: Callable[[int, int], None] | None,
    ):
        self.work = work
        self.macs = sum(layer.macs for layer in work)
        self.budget = budget
        self.area = area
        self.evaluator = evaluator
        self.most = most
        self.progress = progress
        self.found: list[Candidate] = []
        self.areas: dict[AcceleratorConfig, object] = {}
        self.compared: set[AcceleratorConfig] = set()
        self.compiled = 0
        self.reason = "the smallest is too large"

    def shapes(self, shapes: Iterable[list[Iterable[AcceleratorConfig]]]) -> None:
        """Of each array's memories the first that fit the board; the next where it does not run."""
        waiting = []
        for memories in shapes:
            fitting = [next(filter(self.fits, depths), None) for depths in memories]
            configs = [self.deepened(config) for config in fitting if config is not None]
            if configs:
                waiting.append(list(dict.fromkeys(configs)))
        # A preset may be of the grid. Small arrays first: the large must be faster than those.
        waiting = list({configs[0]: configs for configs in waiting}.values())
        waiting.sort(key=lambda configs: self.area_of(configs[0]).lut)
        while waiting and self.compiled < self.most:
            count = min(_ROUND, self.most - self.compiled)
            now, waiting = waiting[:count], waiting[count:]
            now = [
                configs
                for configs in now
                if configs[0] not in self.compared and self.may_be_good(configs[0])
            ]
            ran = self.evaluate([configs[0] for configs in now])
            again = [c[1:] for c, runs in zip(now, ran, strict=True) if not runs and len(c) > 1]
            waiting = again + waiting

    def refine(self, board: str) -> None:
        """The neighbours of the best, and of those that are best then; the fastest first."""
        done: set[AcceleratorConfig] = set()
        while self.compiled < self.most:
            left = [c.config for c in front(self.found) if c.config not in done]
            if not left:
                break
            chosen = left[:_TOGETHER]
            done.update(chosen)
            self.add([near for config in chosen for near in neighbours(config, board)])

    def add(self, configs: Iterable[AcceleratorConfig]) -> None:
        """Evaluates those that are new and may be good."""
        new = {
            config
            for config in map(self.deepened, configs)
            if config not in self.compared and self.fits(config)
        }
        waiting = sorted(new, key=lambda c: (least_cycles(self.work, c), c.digest))
        while waiting and self.compiled < self.most:
            count = min(_ROUND, self.most - self.compiled)
            now, waiting = waiting[:count], waiting[count:]
            self.evaluate([config for config in now if self.may_be_good(config)])

    def deepened(self, config: AcceleratorConfig) -> AcceleratorConfig:
        """The same with the depth that memories have anyway, as blocks have a least depth."""
        for field in ("act_depth", "weight_depth", "param_depth"):
            while (depth := 2 * getattr(config, field)) <= _DEEPEST:
                deeper = replace(config, **{field: depth})
                if self.area_of(deeper).bram36 > self.area_of(config).bram36:
                    break
                config = deeper
        return config

    def area_of(self, config: AcceleratorConfig):
        if config not in self.areas:
            self.areas[config] = self.area(config)
        return self.areas[config]

    def fits(self, config: AcceleratorConfig) -> bool:
        return self.budget.holds(self.area_of(config))

    def may_be_good(self, config: AcceleratorConfig) -> bool:
        area = self.area_of(config)
        return not beaten((least_cycles(self.work, config), area.lut, area.bram36), self.found)

    def evaluate(self, configs: list[AcceleratorConfig]) -> list[bool]:
        """Which of them run."""
        ran = []
        self.compared.update(configs)
        for config, cycles in zip(configs, self.evaluator.cycles(configs), strict=True):
            self.compiled += 1
            if self.progress is not None:
                self.progress(self.compiled, self.most)
            ran.append(isinstance(cycles, int))
            if not ran[-1]:
                self.reason = cycles
                continue
            area = self.area_of(config)
            self.found.append(
                Candidate(
                    config=config,
                    cycles=cycles,
                    macs=self.macs,
                    lut=area.lut,
                    ff=area.ff,
                    bram36=area.bram36,
                    dsp=area.dsp,
                )
            )
        return ran
