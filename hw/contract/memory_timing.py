"""How fast the memory behind the AXI ports is, for the cycle model and the simulator alike."""

from dataclasses import dataclass

__all__ = ["DDR4_REFRESH", "BoardMemory", "MemoryTiming"]


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """A memory in cycles of the accelerator.

    The cycle model uses latencies, bandwidth and refresh. Only a simulated memory uses the rest: it
    takes no more than ``outstanding`` bursts, and pauses at random.

    Raises
    ------
    TypeError, ValueError
        A value is out of its range; the message has both.
    """

    #: Cycles from a read's address to its first beat, 1 or more.
    read_latency: int = 32
    #: Cycles from a write's last beat to its response, 1 or more.
    write_latency: int = 16
    #: Bursts that each direction of a port accepts before the first is complete.
    outstanding: int = 16
    #: Bytes per cycle, both directions and all ports together; 0 for as much as the ports carry.
    bytes_per_cycle: float = 0.0
    #: The memory moves nothing for the last ``refresh_cycles`` of every ``refresh_every`` cycles.
    refresh_every: int = 0
    refresh_cycles: int = 0
    #: Probability of a pause in a cycle of a channel, 0 to below 1.
    stall_rate: float = 0.0
    #: Seed of the random pauses.
    seed: int = 1

    def __post_init__(self):
        for name in ("read_latency", "write_latency", "outstanding"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not 1 <= value < 2**31:
                raise ValueError(f"{name} must be in 1..{2**31 - 1}, not {value!r}")
        if not (0 <= self.refresh_cycles < self.refresh_every < 2**31 or not self.refresh_cycles):
            raise ValueError(
                f"refresh_cycles must be in 0..{self.refresh_every}, below refresh_every, "
                f"not {self.refresh_cycles!r}"
            )
        if not 0 <= self.stall_rate < 1:
            raise ValueError(f"stall_rate must be in 0..1, below 1, not {self.stall_rate!r}")
        if not 0 <= self.bytes_per_cycle <= 2**20:
            raise ValueError(f"bytes_per_cycle must be in 0..{2**20}, not {self.bytes_per_cycle!r}")

    @property
    def paused(self) -> float:
        """Share of the cycles, 0 to 1, in which nothing moves because of refresh."""
        return self.refresh_cycles / self.refresh_every if self.refresh_every else 0.0


@dataclass(frozen=True, kw_only=True)
class BoardMemory:
    """A memory in units of time, which a clock turns into cycles.

    bytes_per_s : all ports and both directions together; 0 for as much as the ports carry.
    read_ns, write_ns : time from a read's address to its first beat, and from a write's last beat
        to its response.
    refresh_every_ns, refresh_ns : time from one refresh to the next, and how long each stops the
        memory; 0 for no refresh.
    """

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

    def timing(self, clock_mhz: int) -> MemoryTiming:
        """The memory in cycles of a clock. Latencies are 1 or more."""
        return MemoryTiming(
            read_latency=max(1, round(self.read_ns * clock_mhz / 1000)),
            write_latency=max(1, round(self.write_ns * clock_mhz / 1000)),
            bytes_per_cycle=self.bytes_per_s / (clock_mhz * 1e6),
            refresh_every=round(self.refresh_every_ns * clock_mhz / 1000),
            refresh_cycles=-(-self.refresh_ns * clock_mhz // 1000),
        )


#: The pauses of DDR4, as fields of :class:`BoardMemory`: JEDEC JESD79-4, parts of 8 Gbit.
DDR4_REFRESH = {"refresh_every_ns": 7800, "refresh_ns": 350}
