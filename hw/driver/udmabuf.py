"""An accelerator in the same chip as the processors that run the driver: through u-dma-buf."""

from pathlib import Path

import numpy as np

from hw.driver.bus import Buffer, BusError
from hw.driver.interrupt import Interrupt, PolledInterrupt
from hw.driver.mapped import MappedRegisters, mapped_memory
from hw.driver.pages import PagedBuffer

__all__ = ["UDmaBufBus"]

#: u-dma-buf synchronizes multiples of so many bytes.
_LINE_BYTES = 16
#: Bits of a synchronizing write: both directions, and the bit that starts it.
_SYNCHRONIZE = 0 << 2 | 1
#: What can be used of a buffer, in whole pages: a synchronizing write has 32 bits for an offset in
#: it, and 32 for a size.
_LARGEST_BYTES = (1 << 32) - 4096


class UDmaBufBus:
    """A :class:`hw.driver.Bus` over one buffer of u-dma-buf, with caches.

    Needs no root where the devices and the buffer's files in ``sys`` may be written.

    Parameters
    ----------
    registers : MappedRegisters
        E.g. ``MappedRegisters("/dev/uio4")``.
    buffer : str
        Name of the buffer, e.g. ``udmabuf0``.
    interrupt : Interrupt, optional
        How to wait; registers are polled if there is none.
    time_limit_s : float
        Longest wait for the interrupt.
    devices, sys : Path
        Where the buffer's device and its attributes are.

    Raises
    ------
    BusError
        The buffer is not there or cannot be mapped, or another process has mapped it.
    """

    def __init__(
        self,
        registers: MappedRegisters,
        *,
        buffer: str = "udmabuf0",
        interrupt: Interrupt | None = None,
        time_limit_s: float = 10.0,
        devices: Path | str = "/dev",
        sys: Path | str = "/sys/class/u-dma-buf",
    ):
        self._registers = registers
        self._attributes = Path(sys, buffer)
        self._address = self._attribute("phys_addr")
        size = min(self._attribute("size"), _LARGEST_BYTES)
        self._memory = mapped_memory(
            Path(devices, buffer), 0, size, f"buffer {buffer!r}", cached=True
        )
        # Not this bus's own method: the bus would then live on until garbage is collected.
        self._interrupt = interrupt or PolledInterrupt(registers.read)
        self._time_limit_s = time_limit_s

    def read(self, offset: int) -> int:
        return self._registers.read(offset)

    def write(self, offset: int, value: int) -> None:
        self._registers.write(offset, value)

    def allocate(self, size: int) -> Buffer:
        begin, end = self._memory.pages.take(size)
        array = self._memory.array[begin:end]
        array[:] = 0
        made = _CachedBuffer(self, array, begin)
        made.to_device(0, end - begin)
        return made

    def wait(self) -> bool:
        return self._interrupt.wait(self._time_limit_s)

    def _attribute(self, name: str) -> int:
        file = self._attributes / name
        try:
            return int(file.read_text(), 0)
        except OSError as error:
            raise BusError(
                f"u-dma-buf file {str(file)!r} cannot be read: {error.strerror}; remedy: "
                "load the module u-dma-buf with a buffer of that name"
            ) from None
        except ValueError:
            raise BusError(f"u-dma-buf file {str(file)!r} must hold a number") from None

    def _synchronize(self, attribute: str, begin: int, end: int) -> None:
        begin = begin // _LINE_BYTES * _LINE_BYTES
        size = -(-(end - begin) // _LINE_BYTES) * _LINE_BYTES
        value = begin << 32 | size | _SYNCHRONIZE
        file = self._attributes / attribute
        try:
            file.write_text(f"{value:#018x}")
        except OSError as error:
            raise BusError(
                f"u-dma-buf file {str(file)!r} cannot be written: {error.strerror}"
            ) from None


class _CachedBuffer(PagedBuffer):
    """Part of the mapped buffer. The processors' caches may hold parts of it."""

    def __init__(self, bus: UDmaBufBus, array: np.ndarray, begin: int):
        super().__init__(bus._memory.pages, begin, array, bus._address + begin)
        self._bus = bus
        self._begin = begin

    def to_device(self, offset: int, size: int) -> None:
        begin = self._begin + offset
        self._bus._synchronize("sync_for_device", begin, begin + size)

    def from_device(self, offset: int, size: int) -> None:
        begin = self._begin + offset
        self._bus._synchronize("sync_for_cpu", begin, begin + size)
