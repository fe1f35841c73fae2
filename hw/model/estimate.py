"""Cycles and traffic of a program for each image, by the cycle model: in total and by layer."""

from dataclasses import dataclass
from typing import ClassVar

from hw.contract.memory_timing import BoardMemory
from hw.contract.program import Program
from hw.model.cycles import estimate_cycles
from hw.model.results import windows_by_layer
from hw.model.traffic import layer_bytes, most_bytes_per_cycle
from nbqnn_train.graph.results import Result

__all__ = ["LayerCost", "ProgramEstimate", "estimate_program"]


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer of one image; the mean, if the layer runs for each image of a batch.

    array, stall : cycles in which the array takes steps or stands still.
    load, store : cycles in which these engines work.
    bytes : bytes of the layer's own loads and stores.
    moved : bytes that move during the layer's ``cycles``, of any layer: much of what a layer needs
        is loaded while the one before it runs.
    windows : "load", "compute", "store" -> begin and end of that engine's work for the layer, in
        cycles from the start; of a batch begin, end, begin, end and so on.
    """

    name: str
    cycles: int
    array: int
    stall: int
    load: int
    store: int
    macs: int
    bytes: int
    utilization: float
    moved: int | None = None
    windows: dict[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class ProgramEstimate(Result):
    """Cycles and traffic of one image.

    batch : images of a run.
    images_per_second : at ``clock_mhz``.
    stalls : cycles in which the array stands still, by the names of
        :class:`hw.contract.causes.Stall`.
    read_bytes, written_bytes : traffic with the memory, commands included.
    macs_per_cycle, bytes_per_cycle : the most that the array and the memory can do.
    build : the build that the program is for, if it is known.
    """

    kind: ClassVar[str] = "compile"

    batch: int
    cycles_per_image: float
    images_per_second: float
    clock_mhz: int
    stalls: dict[str, float]
    read_bytes: int
    written_bytes: int
    utilization: float
    macs_per_cycle: int
    bytes_per_cycle: float
    layers: tuple[LayerCost, ...]
    build: dict | None = None


def estimate_program(program: Program, memory: BoardMemory) -> ProgramEstimate:
    """Cycles and traffic of a program with a board's memory."""
    config, batch = program.config, program.batch
    timing = memory.timing(config.clock_mhz)
    estimate = estimate_cycles(program, timing)
    per_image = program.per_image(
        {
            "cycles": layer.cycles,
            "array": layer.array,
            "stall": sum(layer.waiting.values()),
            "load": layer.load,
            "store": layer.store,
            "macs": layer.macs,
            "bytes": own,
            "moved": layer.moved,
        }
        for layer, own in zip(estimate.layers, layer_bytes(program), strict=True)
    )
    windows = windows_by_layer((layer.name, layer.windows) for layer in estimate.layers)
    layers = []
    for layer, sums in per_image.items():
        values = {name: round(value) for name, value in sums.items()}
        possible = max(1, values["cycles"]) * config.multiplies_per_cycle
        layers.append(
            LayerCost(
                name=layer,
                utilization=values["macs"] / possible,
                windows=windows.get(layer),
                **values,
            )
        )
    cycles = estimate.cycles / batch
    macs = sum(layer.macs for layer in estimate.layers) / batch
    return ProgramEstimate(
        batch=batch,
        cycles_per_image=cycles,
        images_per_second=config.clock_mhz * 1e6 / cycles,
        clock_mhz=config.clock_mhz,
        stalls={cause: stalled / batch for cause, stalled in estimate.stalls.items()},
        read_bytes=round(estimate.read_bytes / batch),
        written_bytes=round(estimate.written_bytes / batch),
        utilization=macs / (cycles * config.multiplies_per_cycle),
        macs_per_cycle=config.multiplies_per_cycle,
        bytes_per_cycle=most_bytes_per_cycle(config, timing),
        layers=tuple(layers),
    )
