"""The cycle model's figures of a run: in total and by layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hw.contract.causes import Stall
from hw.contract.config import AcceleratorConfig

__all__ = ["CycleEstimate", "LayerEstimate", "windows_by_layer"]


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer.

    cycles : cycles from the end of the layer before, in order of completion, to its end.
    array : the array's steps.
    load, store : cycles in which these engines work for the layer.
    moved : bytes of loads and stores, of any layer, that move within ``cycles``.
    windows : "load", "compute", "store" -> begin and end of that engine's work for the layer.
    waiting : cycles in which the array stands still before and in the layer, by the names of
        :class:`hw.contract.causes.Stall`. The last layer includes those after it.

    ``array`` and ``waiting`` of all layers add up to the run's cycles, except for rounding.
    """

    name: str
    macs: int
    cycles: int
    array: int
    load: int
    store: int
    moved: int
    windows: dict[str, tuple[int, int]]
    waiting: dict[str, int]

    def utilization(self, config: AcceleratorConfig) -> float:
        """Nominal multiply-accumulates per lane and cycle."""
        return self.macs / (max(1, self.cycles) * config.multiplies_per_cycle)


@dataclass(frozen=True, kw_only=True)
class CycleEstimate:
    """A whole run, from start to done."""

    cycles: int
    layers: tuple[LayerEstimate, ...]
    read_bytes: int
    written_bytes: int

    @property
    def stalls(self) -> dict[str, int]:
        """Cycles in which the array stood still, by cause, of all layers."""
        names = [cause.name.lower() for cause in Stall]
        return {name: sum(layer.waiting.get(name, 0) for layer in self.layers) for name in names}


def windows_by_layer(
    windows: Iterable[tuple[str, Mapping[str, tuple[int, int]]]],
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Layer -> engine -> begin, end, begin, end and so on, in the order of its runs.

    ``windows`` has a layer's name for each time that it runs: in a batch once for each image, or
    once for all.
    """
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, engines in windows:
        layer = found.setdefault(name, {})
        for engine, window in engines.items():
            layer[engine] = (*layer.get(engine, ()), *window)
    return found
