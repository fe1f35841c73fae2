"""What the engines of the cycle model did for each layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hw.contract.isa import Command
from hw.contract.program import ProgramLayer
from hw.model.results import LayerEstimate
from hw.model.traffic import moved_until

__all__ = ["LayerLog", "log_estimates"]


@dataclass
class LayerLog:
    """What the engines did for one layer; times in cycles.

    end : when its results are written.
    windows : engine -> begin and end of its work for the layer.
    waiting : cause -> cycles in which the array stood still.
    """

    array: int = 0
    load: float = 0.0
    store: float = 0.0
    end: float = 0.0
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)

    def works(self, command: Command, begin: float, end: float) -> None:
        """Widens the window of the command's engine."""
        engine = command.opcode.name.lower()
        first, last = self.windows.get(engine, (begin, end))
        self.windows[engine] = min(first, begin), max(last, end)


def log_estimates(
    layers: Sequence[ProgramLayer],
    logs: list[LayerLog],
    transfers: list[tuple[float, float, int]],
    beat_bytes: int,
) -> Iterator[LayerEstimate]:
    """The estimate of each layer. ``transfers`` are (begin, end, beats) of all loads and stores."""
    bounds = np.array([0.0, *(log.end for log in logs)])
    moved = np.diff(moved_until(bounds, transfers)) * beat_bytes
    before = 0.0
    for described, log, bytes_ in zip(layers, logs, moved, strict=True):
        yield LayerEstimate(
            name=described.name,
            macs=described.macs,
            cycles=round(log.end) - round(before),
            array=log.array,
            load=round(log.load),
            store=round(log.store),
            moved=round(bytes_),
            windows={
                engine: (round(begin), round(until))
                for engine, (begin, until) in log.windows.items()
            },
            waiting={cause: round(cycles) for cause, cycles in log.waiting.items()},
        )
        before = log.end
