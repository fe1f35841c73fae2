"""What a program will cost for each image, by the cycle model: all of it and layer by layer."""

from hw.contract.memory_timing import BoardMemory
from hw.contract.program import Program
from hw.model.cycles import estimate_cycles
from hw.model.traffic import layer_bytes

__all__ = ["estimate_program"]


def estimate_program(program: Program, memory: BoardMemory) -> dict:
    """Cycles per image, and why.

    Returns
    -------
    dict
        ``batch``, images of a run; ``cycles_per_image``; ``images_per_second`` at ``clock_mhz``;
        ``stalls``: cycles in which the array stands still, by the names of
        :class:`hw.contract.causes.Stall`; ``read_bytes`` and ``written_bytes``, with the commands;
        ``utilization`` of the array; what it and the memory can do at most (``macs_per_cycle``,
        ``bytes_per_cycle``); ``layers``, each with ``name``, ``cycles``, cycles in which the array
        takes steps (``array``) or stands still (``stall``) and in which the transfers are at work
        (``load``, ``store``), ``macs``, ``bytes`` to and from the memory, ``utilization``. All are
        of one image; of a layer that runs for each image of a batch, their mean.
    """
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
            "bytes": moved,
        }
        for layer, moved in zip(estimate.layers, layer_bytes(program), strict=True)
    )
    layers = []
    for layer, sums in per_image.items():
        values = {name: round(value) for name, value in sums.items()}
        possible = max(1, values["cycles"]) * config.multiplies_per_cycle
        layers.append({"name": layer, **values, "utilization": values["macs"] / possible})
    cycles = estimate.cycles / batch
    macs = sum(layer.macs for layer in estimate.layers) / batch
    ports = config.axi_beat_bits / 8
    return {
        "batch": batch,
        "cycles_per_image": cycles,
        "images_per_second": config.clock_mhz * 1e6 / cycles,
        "clock_mhz": config.clock_mhz,
        "stalls": {cause: stalled / batch for cause, stalled in estimate.stalls.items()},
        "read_bytes": round(estimate.read_bytes / batch),
        "written_bytes": round(estimate.written_bytes / batch),
        "utilization": macs / (cycles * config.multiplies_per_cycle),
        "macs_per_cycle": config.multiplies_per_cycle,
        "bytes_per_cycle": min(timing.bytes_per_cycle or ports, ports),
        "layers": layers,
    }
