"""Circuits of a network at several rates, without their Verilog."""

from collections.abc import Callable

import numpy as np

from hw.spatial.circuit import Circuit, Circuits
from hw.spatial.delay import levels_for
from hw.spatial.errors import SpatialError
from hw.spatial.lowering import plan_network
from hw.spatial.stream import QUEUE_LATENCY
from nbqnn_train.graph import Conv2d, Graph, Linear, NbqnnError, Requantize

__all__ = ["find_circuits"]

#: Intervals that are tried: cycles from one position to the next.
_INTERVALS = (1, 2, 4, 8, 32, 128)
#: With more weights only intervals are tried at which rows of 8-bit inputs take turns. Otherwise
#: the search for shared sums would take minutes.
_SEARCHED = 8000
_SLOW = _INTERVALS.index(32)
#: Networks with more weights are not tried. In scale mode rows take no turns.
_WEIGHTS = 300_000
#: A larger interval is kept if it saves at least this share of the tables.
_WORTH = 0.05


def find_circuits(
    graph: Graph,
    tables: int,
    clock_mhz: int,
    progress: Callable[[str], None] = lambda layer: None,
) -> Circuits:
    """Circuits of a graph with at most so many look-up tables."""
    layers = [node for node in graph.nodes if isinstance(node, (Conv2d, Linear))]
    weights = sum(int(np.count_nonzero(node.weight)) for node in layers)
    most = _WEIGHTS if _only_shifts(graph) else _SEARCHED
    if weights > most:
        return Circuits((), f"{weights:,} weights; up to {most:,} are looked at as a circuit")
    try:
        levels = levels_for(clock_mhz)
    except NbqnnError as error:
        return Circuits((), str(error))
    found: list[Circuit] = []
    reason = None
    for interval in _INTERVALS if weights <= _SEARCHED else _INTERVALS[_SLOW:]:
        try:
            plan = plan_network(graph, levels, interval, progress, tables)
        except SpatialError as error:
            reason = str(error)
            if "look-up tables" in reason:
                continue
            break
        if found and plan.tables > (1 - _WORTH) * found[-1].lut:
            continue
        found.append(
            Circuit(
                interval=interval,
                cycles=plan.cycles_per_image,
                latency=plan.latency + QUEUE_LATENCY,
                clock_mhz=clock_mhz,
                lut=plan.tables,
            )
        )
    return Circuits(tuple(found), reason)


def _only_shifts(graph: Graph) -> bool:
    """Whether all multipliers of requantizers are powers of two."""
    return all(
        multiplier & (multiplier - 1) == 0
        for node in graph.nodes
        if isinstance(node, Requantize)
        for multiplier in map(int, node.multiplier)
    )
