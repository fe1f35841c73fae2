"""The network as a circuit of its own, as a candidate beside configurations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hw.explore.candidates import Candidate, beaten
from hw.spatial.delay import levels_for
from hw.spatial.errors import SpatialError
from hw.spatial.lowering import plan_network
from hw.spatial.stream import QUEUE_LATENCY
from nbqnn_train.graph import Conv2d, Graph, Linear, NbqnnError

__all__ = ["Circuit", "Circuits", "common_front", "find_circuits"]

#: Cycles for each position that are tried.
_INTERVALS = (1, 2, 4, 8)
#: Weights up to which the sums are searched: a minute or two.
_WEIGHTS = 8000
#: A larger interval is worth having if it saves such a share of the tables.
_WORTH = 0.05


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """What ``generate --spatial --ii interval`` makes; ``lut`` is estimated before synthesis.

    latency : cycles from an image's first beat to its first result.
    """

    interval: int
    cycles: int
    latency: int
    clock_mhz: int
    lut: int

    @property
    def seconds(self) -> float:
        """From one image to the next."""
        return self.cycles / (self.clock_mhz * 1e6)


@dataclass(frozen=True)
class _Priced:
    costs: tuple[float, ...]
    config: int | None = None
    circuit: int | None = None


@dataclass(frozen=True)
class Circuits:
    """All that fit, the fastest first, and why there are no others."""

    found: tuple[Circuit, ...]
    reason: str | None


def common_front(
    candidates: Sequence[Candidate], circuits: Sequence[Circuit]
) -> tuple[set[int], set[int]]:
    """What is worth having of both together: digests of configurations, intervals of circuits.

    Costs are the time of an image, the time to the first result, tables and memories.
    """
    priced = [
        _Priced((c.seconds, c.latency / (c.clock_mhz * 1e6), c.lut, 0.0), circuit=c.interval)
        for c in circuits
    ]
    priced += [
        _Priced((c.seconds, c.seconds, c.lut, c.bram36), config=c.config.digest) for c in candidates
    ]
    chosen: list[_Priced] = []
    for one in sorted(priced, key=lambda one: one.costs):
        if not beaten(one.costs, chosen):
            chosen.append(one)
    return (
        {one.config for one in chosen if one.config is not None},
        {one.circuit for one in chosen if one.circuit is not None},
    )


def find_circuits(
    graph: Graph,
    tables: int,
    clock_mhz: int,
    progress: Callable[[str], None] = lambda layer: None,
) -> Circuits:
    """Circuits of a graph with at most so many look-up tables."""
    layers = [node for node in graph.nodes if isinstance(node, (Conv2d, Linear))]
    weights = sum(int(np.count_nonzero(node.weight)) for node in layers)
    if weights > _WEIGHTS:
        return Circuits((), f"{weights:,} weights; up to {_WEIGHTS:,} are looked at as a circuit")
    try:
        levels = levels_for(clock_mhz)
    except NbqnnError as error:
        return Circuits((), str(error))
    found: list[Circuit] = []
    reason = None
    for interval in _INTERVALS:
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
