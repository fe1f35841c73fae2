"""An estimate of power from counts of cells; nothing is measured.

The coefficients are medians over routed, vectorless power reports of public UltraScale+ designs at
0.85 V. A family of designs that was left out is met within a factor of :data:`BAND` (root mean
square of the logarithms).
Counts do not tell how often signals switch, nor shifts from multiplications.
"""

from dataclasses import dataclass
from typing import ClassVar

from hw.boards.board import Board
from hw.synth.area import Area

__all__ = ["BAND", "PowerEstimate", "estimate_power", "power_fields"]

#: The estimate may be so many times too high or too low.
BAND = 1.37
#: Part of the fabric -> resource of :class:`Area`, and W for each of it and each MHz.
_DYNAMIC = {
    "logic": ("lut", 39e-9),
    "signals": ("lut", 38e-9),
    "clocks": ("ff", 28e-9),
    "bram": ("bram36", 6.2e-6),
    "dsp": ("dsp", 3.1e-6),
}
#: Device at 0.85 V -> W that its fabric always takes, and W of its processors: medians as well.
_DEVICES = {"xczu9eg": (0.63, 2.8), "xczu7ev": (0.62, 2.7), "xczu3eg": (0.22, 1.75)}


@dataclass(frozen=True, kw_only=True)
class PowerEstimate:
    """Estimated power in W, by component.

    parts : "logic", "signals", "clocks", "bram", "dsp": what the fabric takes while it runs.
    static : what the fabric takes at rest.
    processors : the processor system beside the fabric.
    """

    derived: ClassVar[tuple[str, ...]] = ("fabric", "low", "high", "chip")

    parts: dict[str, float]
    static: float
    processors: float

    @property
    def fabric(self) -> float:
        """The sum of ``parts``."""
        return round(sum(self.parts.values()), 3)

    @property
    def low(self) -> float:
        """The lower end of the band around ``fabric``."""
        return round(self.fabric / BAND, 3)

    @property
    def high(self) -> float:
        """The upper end of the band around ``fabric``."""
        return round(self.fabric * BAND, 3)

    @property
    def chip(self) -> float:
        """Fabric, running and at rest, and processors."""
        return round(self.fabric + self.static + self.processors, 3)


def estimate_power(area: Area, clock_mhz: float, board: Board) -> PowerEstimate | None:
    """What cells of ``area`` take at a clock; None for a device that no report is about."""
    found = _DEVICES.get(board.part.partition("-")[0])
    if found is None:
        return None
    parts = {
        part: round(getattr(area, resource) * clock_mhz * watts, 4)
        for part, (resource, watts) in _DYNAMIC.items()
    }
    return PowerEstimate(parts=parts, static=found[0], processors=found[1])


def power_fields(area: Area, clock_mhz: float, board: Board) -> dict[str, object]:
    """The estimate as fields of :class:`hw.synth.results.SynthResult`; none where there is none."""
    power = estimate_power(area, clock_mhz, board)
    if power is None:
        return {}
    return {
        "estimated_power_w": power.fabric,
        "estimated_power_low_w": power.low,
        "estimated_power_high_w": power.high,
        "estimated_power": power,
    }
