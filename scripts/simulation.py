"""``nbqnn simulate``: runs a simulation as the options say."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw.boards.registry import find_memory
from hw.contract.memory_timing import DDR4_REFRESH
from nbqnn_train.graph.errors import NbqnnError
from sim.results import SimulationResult
from sim.serial.simulate import simulate_netlist
from sim.simulate import simulate
from sim.traces import TraceRequest

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = ["run_simulation"]


def run_simulation(
    program: Path,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    hw: Path | None,
    netlist: Path | None,
    memory: str,
    bandwidth: float | None,
    read_ns: float | None,
    write_ns: float | None,
    refresh: bool,
    files: Mapping[str, Path | None],
    layer: str | None,
    cycles: str | None,
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """The result of :func:`sim.simulate.simulate`, or of a netlist, which has its own memory.

    bandwidth : in GB/s; 0 means as much as the ports carry.
    files : form of a trace -> file to write.
    """
    requests = [
        TraceRequest(path=path, form=form, layer=layer, cycles=_span(cycles))
        for form, path in files.items()
        if path is not None
    ]
    if not requests and (layer is not None or cycles is not None):
        raise NbqnnError("a layer or cycles need a file: --fst, --vcd or --saif")
    if netlist is not None:
        if hw is not None:
            raise NbqnnError("a program runs on a build or on a netlist, not on both")
        if cluster is not None:
            raise NbqnnError("a netlist is simulated on this machine, without --cluster")
        if requests:
            raise NbqnnError("files of signals need the accelerator itself, not a netlist")
        return simulate_netlist(program, x, netlist, progress=progress)
    values = {
        "bytes_per_s": None if bandwidth is None else bandwidth * 1e9,
        "read_ns": read_ns,
        "write_ns": write_ns,
        **(DDR4_REFRESH if refresh else {}),
    }
    given = {name: value for name, value in values.items() if value is not None}
    behind = replace(find_memory(memory), **given)
    return simulate(
        program, x, hw=hw, memory=behind, traces=requests, cluster=cluster, progress=progress
    )


def _span(cycles: str | None) -> tuple[int, int] | None:
    if cycles is None:
        return None
    match = re.fullmatch(r"(\d{1,18}):(\d{1,18})", cycles, re.ASCII)
    if match is None:
        raise NbqnnError(f"cycles must be A:B, two numbers, not {cycles!r}")
    return int(match[1]), int(match[2])
