"""Finds the configurations that are worth having: area first, then cycles, then their neighbours.

A configuration is not compiled if it does not fit the board, or if it could not beat a known one
even if its array never waited. The search begins with a coarse grid, whose arrays have the largest
memories that fit. Then the memories of the best are made as small as costs no cycles. Then the
neighbours of the best are tried, until there are no new ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hw.compiler.errors import CompileError
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
from hw.explore.bound import Work, least_cycles, work_of
from hw.explore.candidates import Budget, Candidate, beaten, front, in_order
from hw.explore.evaluate import Evaluator
from hw.explore.journal import Journal
from hw.explore.requirements import base_config
from hw.explore.space import LEAST_DEPTHS, grid, neighbours
from nbqnn_train.graph import graph_digest, load, validate

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["Exploration", "explore"]

#: Configurations that are compiled side by side before the next are chosen. A fixed number, since
#: results must not depend on the number of cores.
_ROUND = 16
#: Configurations whose neighbours are tried together.
_TOGETHER = 4
#: Share of all compilations that is reserved for making memories smaller.
_TRIMMING = 0.25


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """All candidates that run, the fastest first; ``front`` are those worth having.

    ``compiled`` counts the configurations that were compiled, whether they run or not.
    ``considered`` counts those whose area was estimated. ``complete`` is False if the search was
    interrupted.
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
    data_width: int = 128,
    address_width: int = 40,
    most: int = 300,
    processes: int | None = None,
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
    journal: Path | None = None,
) -> Exploration:
    """Searches for a graph file's best configurations.

    An interrupt from the keyboard ends the search. It then returns what it has found, if anything.

    Parameters
    ----------
    path : Path
        The graph.
    board : str
        The board's name, with which the configurations' names begin.
    budget : Budget
    memory : BoardMemory
    area : callable
        Configuration -> object with ``lut``, ``ff``, ``bram36``, ``dsp``.
    pe, clock_mhz
        Fields of all configurations.
    data_width, address_width : int
        Bits of the board's AXI ports.
    most : int
        Most configurations to compile.
    processes : int, optional
        Default: one for each core.
    cluster : Cluster, optional
        Its workers compile, in place of processes of this machine.
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
    base = base_config(graph, pe, clock_mhz, data_width=data_width, address_width=address_width)
    kept = Journal(journal, (graph_digest(graph), repr(memory)))
    complete = False
    with Evaluator(graph, memory, kept, processes, cluster) as evaluator:
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
        found = in_order(search.found)
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
        #: Candidates that run, in the order in which they were compiled.
        self.by_config: dict[AcceleratorConfig, Candidate] = {}
        self.trimmed: set[AcceleratorConfig] = set()
        self.areas: dict[AcceleratorConfig, object] = {}
        self.compared: set[AcceleratorConfig] = set()
        self.compiled = 0
        self.reason = "the smallest is too large"

    def shapes(self, shapes: Iterable[list[Iterable[AcceleratorConfig]]]) -> None:
        """Evaluates each array with the first memories that fit; if it does not run, the next."""
        waiting = []
        for memories in shapes:
            fitting = [next(filter(self.fits, depths), None) for depths in memories]
            configs = list(dict.fromkeys(config for config in fitting if config is not None))
            if configs:
                waiting.append(configs)
        # A preset may be in the grid too. Small arrays come first: larger ones must be faster.
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
        """Makes the memories of the best smaller, then tries their neighbours, the fastest first.

        This is repeated with those that are the best then.
        """
        done: set[AcceleratorConfig] = set()
        most = round((1 - _TRIMMING) * self.most)
        while self.compiled < most:
            left = [c.config for c in front(self.found) if c.config not in done]
            if not left:
                break
            chosen = left[:_TOGETHER]
            small = self.trim(chosen)
            done.update(chosen, small)
            self.add((near for config in small for near in neighbours(config, board)), most)
        while left := [c.config for c in front(self.found) if c.config not in self.trimmed]:
            if self.compiled >= self.most:
                break
            self.trim(left[:_ROUND])

    def trim(self, configs: list[AcceleratorConfig]) -> list[AcceleratorConfig]:
        """The same arrays with the smallest memories that cost no cycles.

        One memory after the other is made smaller, by bisection. A search that ends in between
        leaves them at the size reached.
        """
        small = list(configs)
        for field, least in LEAST_DEPTHS.items():
            # Exponents of depths, which are powers of two: one too small, one large enough.
            low = [max(least(config), 2).bit_length() - 2 for config in small]
            high = [getattr(config, field).bit_length() - 1 for config in small]
            while any(a + 1 < b for a, b in zip(low, high, strict=True)):
                room = self.most - self.compiled
                open_ = [i for i in range(len(small)) if low[i] + 1 < high[i]][:room]
                if not open_:
                    return small
                middle = {i: (low[i] + high[i]) // 2 for i in open_}
                tried = {i: replace(small[i], **{field: 1 << at}) for i, at in middle.items()}
                self.evaluate([c for c in dict.fromkeys(tried.values()) if c not in self.compared])
                for i, config in tried.items():
                    found = self.by_config.get(config)
                    if found is None or found.cycles > self.by_config[small[i]].cycles:
                        low[i] = middle[i]
                    else:
                        high[i], small[i] = middle[i], config
        self.trimmed.update(configs, small)
        return small

    def add(self, configs: Iterable[AcceleratorConfig], most: int) -> None:
        """Evaluates configurations that are new and may be good, up to ``most`` compilations."""
        new = {c for c in configs if c not in self.compared and self.fits(c)}
        waiting = sorted(new, key=lambda c: (least_cycles(self.work, c), c.digest))
        while waiting and self.compiled < most:
            count = min(_ROUND, most - self.compiled)
            now, waiting = waiting[:count], waiting[count:]
            self.evaluate([config for config in now if self.may_be_good(config)])

    @property
    def found(self) -> list[Candidate]:
        return list(self.by_config.values())

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
        """Compiles configurations. Returns for each whether it runs."""
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
            self.by_config[config] = Candidate(
                config=config,
                cycles=cycles,
                macs=self.macs,
                lut=area.lut,
                ff=area.ff,
                bram36=area.bram36,
                dsp=area.dsp,
            )
        return ran
