"""An accelerator in the same chip as the processors that run the driver: plain Linux."""

from pathlib import Path

import numpy as np

from hw.driver.barrier import memory_barrier
from hw.driver.bus import Buffer
from hw.driver.interrupt import Interrupt, PolledInterrupt
from hw.driver.mapped import MappedRegisters, mapped_memory
from hw.driver.pages import PagedBuffer

__all__ = ["DevMemBus"]


class DevMemBus:
    """A :class:`hw.driver.Bus` through ``/dev/mem``, for Linux without PYNQ (PetaLinux).

    The memory is a range that the device tree reserves. With ``O_SYNC`` it is mapped without
    caches, and other processes are refused it meanwhile. The range must not have ``no-map``: it
    would then be device memory, in which ordinary copies fault on 64-bit ARM. Needs root, and a
    kernel without ``CONFIG_STRICT_DEVMEM``.

    Parameters
    ----------
    registers : int
        Physical address of the accelerator's registers.
    memory : int
        Physical address of the reserved memory.
    memory_bytes : int
        Its size.
    interrupt : Interrupt, optional
        How to wait; registers are polled if there is none.
    time_limit_s : float
        Longest wait for the interrupt.
    device : Path
        What maps physical addresses.

    Raises
    ------
    BusError
        The device cannot be opened or mapped, another process has mapped the registers or the
        memory, or the processor is of an unknown kind.
    """

    def __init__(
        self,
        *,
        registers: int,
        memory: int,
        memory_bytes: int,
        interrupt: Interrupt | None = None,
        time_limit_s: float = 10.0,
        device: Path | str = "/dev/mem",
    ):
        self._barrier = memory_barrier()
        self._registers = MappedRegisters(device, registers)
        self._memory = mapped_memory(device, memory, memory_bytes, "the reserved memory")
        self._address = memory
        # Not this bus's own method: the bus would then live on until garbage is collected.
        self._interrupt = interrupt or PolledInterrupt(self._registers.read)
        self._time_limit_s = time_limit_s

    def read(self, offset: int) -> int:
        return self._registers.read(offset)

    def write(self, offset: int, value: int) -> None:
        self._registers.write(offset, value)

    def allocate(self, size: int) -> Buffer:
        begin, end = self._memory.pages.take(size)
        array = self._memory.array[begin:end]
        array[:] = 0
        self._barrier()
        return _UncachedBuffer(self, array, begin)

    def wait(self) -> bool:
        return self._interrupt.wait(self._time_limit_s)


class _UncachedBuffer(PagedBuffer):
    """Memory without caches: only the order of accesses must be kept."""

    def __init__(self, bus: DevMemBus, array: np.ndarray, begin: int):
        super().__init__(bus._memory.pages, begin, array, bus._address + begin)
        self._bus = bus

    def to_device(self, offset: int, size: int) -> None:
        # The store that starts the accelerator must not overtake these bytes.
        self._bus._barrier()

    def from_device(self, offset: int, size: int) -> None:
        # Loads of results must come after the load that said that they are there.
        self._bus._barrier()
