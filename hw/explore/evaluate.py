"""Counts the cycles of many configurations at once, in several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Self

from hw.compiler import CompileError, compile_graph
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
from hw.explore.journal import Journal
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import Graph, load

__all__ = ["Evaluator"]


class Evaluator:
    """Compiles a graph without its weights and counts cycles. Use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The graph's file; every process reads it once.
    memory : BoardMemory
        Behind the AXI ports.
    journal : Journal
        Cycles in it are not counted again; new ones are added to it.
    processes : int, optional
        Default: one for each core. Results are the same for any number.
    """

    def __init__(
        self, path: Path, memory: BoardMemory, journal: Journal, processes: int | None = None
    ):
        self._journal = journal
        # Spawned: a fork of a process with threads may never come back.
        self._pool = ProcessPoolExecutor(
            processes or os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_open,
            initargs=(Path(path), memory),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self._pool.shutdown(cancel_futures=True)

    def cycles(self, configs: Sequence[AcceleratorConfig]) -> Iterator[int | str]:
        """For each configuration, in order, the cycles of an image or why it does not run."""
        unknown = [config for config in dict.fromkeys(configs) if config not in self._journal]
        counted = self._pool.map(_cycles, unknown)
        for config in configs:
            if config not in self._journal:
                self._journal.add(config, next(counted))
            yield self._journal[config]


_graph: Graph
_memory: BoardMemory


def _open(path: Path, memory: BoardMemory) -> None:
    global _graph, _memory
    # An interrupt from the keyboard goes to all processes; the parent process ends the others. A
    # parent that was killed cannot, and they would wait for work for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _graph, _memory = load(path), memory


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _cycles(config: AcceleratorConfig) -> int | str:
    try:
        program = compile_graph(_graph, config, pack=False)
    except CompileError as error:
        return str(error)
    return estimate_cycles(program, _memory.timing(config.clock_mhz)).cycles
