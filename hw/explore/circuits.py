"""Which circuits and configurations are worth having, compared with each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.explore.candidates import Candidate, beaten
from hw.spatial.circuit import Circuit

__all__ = ["common_front"]


@dataclass(frozen=True)
class _Priced:
    costs: tuple[float, ...]
    config: int | None = None
    circuit: int | None = None


def common_front(
    candidates: Sequence[Candidate], circuits: Sequence[Circuit]
) -> tuple[set[int], set[int]]:
    """The digests of configurations and the intervals of circuits that are worth having.

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
