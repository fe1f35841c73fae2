"""The cycle model's figures of a run: in total and by layer."""

from dataclasses import dataclass

from hw.contract.causes import Stall
from hw.contract.config import AcceleratorConfig

__all__ = ["CycleEstimate", "LayerEstimate"]


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
