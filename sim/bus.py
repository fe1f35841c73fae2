"""The Verilated accelerator as the driver sees it."""

from hw.accelerator import TOP
from hw.config import AcceleratorConfig
from hw.driver import Buffer
from hw.generate import accelerator_verilog
from sim.verilated import MemoryTiming, VerilatedAccelerator

__all__ = ["VerilatedBus"]

_PAGE = 4096


class VerilatedBus:
    """A :class:`hw.driver.Bus` in simulation; to be closed, or used in a ``with`` statement.

    Parameters
    ----------
    config : AcceleratorConfig
    memory_bytes : int
        All that will be allocated, rounded up to pages.
    max_cycles : int
        Longest wait for the interrupt.
    timing : MemoryTiming, optional
        How the memory behaves.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        *,
        memory_bytes: int,
        max_cycles: int,
        timing: MemoryTiming | None = None,
    ):
        self.model = VerilatedAccelerator(
            accelerator_verilog(config),
            TOP,
            data_width=config.axi_data_width,
            ports=config.axi_ports,
            memory_bytes=-(-memory_bytes // _PAGE) * _PAGE,
            memory_base=_PAGE,
            timing=timing,
        )
        self._max_cycles = max_cycles
        self._allocated = 0

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
        start = self._allocated
        self._allocated += -(-size // _PAGE) * _PAGE
        if self._allocated > len(self.model.memory):
            raise AssertionError(f"{self._allocated} bytes of {len(self.model.memory)} allocated")
        return Buffer(self.model.memory[start : self._allocated], self.model.memory_base + start)

    def wait(self) -> bool:
        self.model.run(self._max_cycles)
        return self.model.irq
