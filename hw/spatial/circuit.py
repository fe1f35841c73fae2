"""What a circuit of a network costs and how fast it is."""

from dataclasses import dataclass

__all__ = ["Circuit", "Circuits"]


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
        """Seconds from one image to the next."""
        return self.cycles / (self.clock_mhz * 1e6)


@dataclass(frozen=True)
class Circuits:
    """All circuits that fit, the fastest first, and the reason why there are no others."""

    found: tuple[Circuit, ...]
    reason: str | None
