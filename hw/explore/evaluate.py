"""Counts the cycles of many configurations at once, in several processes or on a cluster."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

from hw.compiler import CompileError, compile_graph
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
from hw.explore.journal import Journal
from hw.model.cycles import estimate_cycles
from hw.tools.work import ProcessWork, Work
from nbqnn_train.graph import Graph

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["Evaluator"]


class Evaluator:
    """Compiles a graph without its weights and counts cycles. Use it in a ``with`` statement.

    Parameters
    ----------
    graph : Graph
        Every process gets it once.
    memory : BoardMemory
        Behind the AXI ports.
    journal : Journal
        Cycles in it are not counted again; new ones are added to it as soon as they are known.
    processes : int, optional
        Default: one for each core. Results are the same for any number.
    cluster : Cluster, optional
        Its workers count, in place of processes of this machine.
    """

    def __init__(
        self,
        graph: Graph,
        memory: BoardMemory,
        journal: Journal,
        processes: int | None = None,
        cluster: "Cluster | None" = None,
    ):
        self._journal = journal
        shared = graph, memory
        self._work: Work[AcceleratorConfig, int | str] = (
            ProcessWork(_cycles, shared, processes)
            if cluster is None
            else cluster.work(_cycles, shared)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self._work.close()

    def cycles(self, configs: Sequence[AcceleratorConfig]) -> Iterator[int | str]:
        """For each configuration, in order, the cycles of an image or why it does not run."""
        unknown = [config for config in dict.fromkeys(configs) if config not in self._journal]
        counted = self._work.results(
            unknown, lambda number, cycles: self._journal.add(unknown[number], cycles)
        )
        for config in configs:
            while config not in self._journal:
                next(counted)
            yield self._journal[config]


def _cycles(shared: tuple[Graph, BoardMemory], config: AcceleratorConfig) -> int | str:
    graph, memory = shared
    try:
        program = compile_graph(graph, config, pack=False)
    except CompileError as error:
        return str(error)
    return estimate_cycles(program, memory.timing(config.clock_mhz)).cycles
