"""How fast the memory behind the ports is, as the cycle model and the simulator see it."""

from dataclasses import dataclass

__all__ = ["BoardMemory"]


@dataclass(frozen=True, kw_only=True)
class BoardMemory:
    """A memory in units of time, which a clock turns into cycles.

    bytes_per_s : all ports and both directions together.
    read_ns, write_ns : from a read's address to its first beat, from a write's last beat to its
        response.
    refresh_every_ns, refresh_ns : how often it stands still, and how long; 0 for never.
    """

    name: str
    bytes_per_s: float
    read_ns: float
    write_ns: float
    refresh_every_ns: int = 0
    refresh_ns: int = 0

    def __post_init__(self):
        if not 0 <= self.refresh_ns <= self.refresh_every_ns:
            raise ValueError(
                f"refresh_ns must be 0...{self.refresh_every_ns}, not {self.refresh_ns!r}"
            )

    def bytes_per_cycle(self, clock_mhz: int) -> float:
        return self.bytes_per_s / (clock_mhz * 1e6)

    def read_latency(self, clock_mhz: int) -> int:
        """Cycles, 1 or more."""
        return max(1, round(self.read_ns * clock_mhz / 1000))

    def write_latency(self, clock_mhz: int) -> int:
        """Cycles, 1 or more."""
        return max(1, round(self.write_ns * clock_mhz / 1000))
