"""An accelerator in the programmable logic beside the processors that run this: plain Linux."""

import mmap
import os
from pathlib import Path

import numpy as np

from hw.driver.bus import PAGE_BYTES, Buffer, BusError
from hw.driver.interrupt import Interrupt, PolledInterrupt

__all__ = ["DevMemBus"]

_REGISTERS_BYTES = 4096


class DevMemBus:
    """A :class:`hw.driver.Bus` through ``/dev/mem``, for Linux without PYNQ (PetaLinux).

    The memory is a range that the device tree reserves; with ``O_SYNC`` it is mapped without
    caches, so nothing has to be written back. It must not have ``no-map``: it would then be device
    memory, in which ordinary copies fault on 64-bit ARM. Needs root, and a kernel without
    ``CONFIG_STRICT_DEVMEM``.

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
        The device cannot be opened or mapped.
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
        try:
            file = os.open(device, os.O_RDWR | os.O_SYNC)
        except OSError as error:
            raise BusError(f"memory {str(device)!r} cannot be opened: {error.strerror}") from None
        try:
            mapped = mmap.mmap(file, _REGISTERS_BYTES, offset=registers)
            self._memory = mmap.mmap(file, memory_bytes, offset=memory)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BusError(
                f"memory {str(device)!r} cannot be mapped at {registers:#x} "
                f"and {memory:#x}: {reason}"
            ) from None
        finally:
            os.close(file)
        # Words, so that every access is one of 32 bits.
        self._registers = np.frombuffer(mapped, np.uint32)
        self._address = memory
        self._allocated = 0
        self._interrupt = interrupt or PolledInterrupt(self.read)
        self._time_limit_s = time_limit_s

    def read(self, offset: int) -> int:
        return int(self._registers[offset // 4])

    def write(self, offset: int, value: int) -> None:
        self._registers[offset // 4] = value

    def allocate(self, size: int) -> Buffer:
        begin = self._allocated
        end = begin + -(-size // PAGE_BYTES) * PAGE_BYTES
        if end > len(self._memory):
            raise BusError(
                f"the reserved memory must hold {end} bytes of buffers so far, "
                f"but has {len(self._memory)}"
            )
        self._allocated = end
        array = np.frombuffer(self._memory, np.uint8, end - begin, begin)
        array[:] = 0
        return Buffer(array, self._address + begin)

    def wait(self) -> bool:
        return self._interrupt.wait(self._time_limit_s)
