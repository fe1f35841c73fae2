"""The Verilated accelerator as the driver sees it."""

from dataclasses import dataclass
from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import MemoryTiming
from hw.driver import Buffer, Pages
from hw.driver.pages import PagedBuffer
from hw.rtl.accelerator import TOP
from sim.verilated import VerilatedAccelerator
from sim.watch import Watched, watch

__all__ = ["Trace", "VerilatedBus"]

_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A file of the signals in the cycles ``begin`` to ``end - 1`` of a run, or to the run's end.

    form : "vcd", "fst" or "saif".
    """

    path: Path
    form: str
    begin: int = 0
    end: int | None = None


class VerilatedBus:
    """A :class:`hw.driver.Bus` in simulation. Close it, or use it in a ``with`` statement.

    Parameters
    ----------
    config : AcceleratorConfig
    verilog : str
        The accelerator of that configuration.
    memory_bytes : int
        Size of everything that will be allocated; it is rounded up to pages.
    max_cycles : int
        Longest wait for the interrupt.
    timing : MemoryTiming, optional
        How the memory behaves.
    trace : Trace, optional
        Signals to write to a file during the first run.
    watched : bool
        Watch the first run.

    Attributes
    ----------
    seen : Watched or None
        What was seen of the first run, after it.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        verilog: str,
        *,
        memory_bytes: int,
        max_cycles: int,
        timing: MemoryTiming | None = None,
        trace: Trace | None = None,
        watched: bool = False,
    ):
        self._trace = trace
        self._watches = watched
        self.seen: Watched | None = None
        self._half_period_ps = round(500_000 / config.clock_mhz)
        self.model = VerilatedAccelerator(
            verilog,
            TOP,
            data_width=config.axi_data_width,
            ports=config.axi_ports,
            memory_bytes=-(-memory_bytes // _PAGE) * _PAGE,
            memory_base=_PAGE,
            timing=timing,
            trace=None if trace is None else trace.form,
        )
        self._max_cycles = max_cycles
        self._pages = Pages(len(self.model.memory), "the simulated memory")

    def __enter__(self) -> "VerilatedBus":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Frees the model."""
        self.model.close()

    def read(self, offset: int) -> int:
        return self.model.read(offset)

    def write(self, offset: int, value: int) -> None:
        self.model.write(offset, value)

    def allocate(self, size: int) -> Buffer:
        begin, end = self._pages.take(size)
        array = self.model.memory[begin:end]
        array[:] = 0
        return PagedBuffer(self._pages, begin, array, self.model.memory_base + begin)

    def wait(self) -> bool:
        trace, self._trace = self._trace, None
        if trace is not None:
            self.model.run(trace.begin)
            self.model.start_trace(trace.path, half_period_ps=self._half_period_ps)
            left = self._max_cycles if trace.end is None else trace.end - trace.begin
            self.model.run(left)
            self.model.stop_trace()
        if self._watches:
            self._watches = False
            self.seen = watch(self.model, self._max_cycles)
        self.model.run(self._max_cycles)
        return self.model.irq
