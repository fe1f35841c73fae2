"""Waits for the accelerator's interrupt, through the operating system or by polling."""

import os
import select
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hw.contract.registers import REGISTERS
from hw.driver.bus import BusError

__all__ = ["Interrupt", "PolledInterrupt", "UioInterrupt"]

#: Longest pause between two reads, and how much each pause is longer than the one before.
_LONGEST_S, _GROWTH = 1e-3, 1.5
_SHORTEST_S = 1e-5


class Interrupt(Protocol):
    """The interrupt of one accelerator."""

    def wait(self, time_limit_s: float) -> bool:
        """Waits until the interrupt is high. False if that takes longer than ``time_limit_s``."""
        ...


class PolledInterrupt:
    """Reads ``irq_status`` again and again, with pauses that grow to a millisecond.

    Parameters
    ----------
    read : callable
        Gives the register at a byte offset.
    """

    def __init__(self, read: Callable[[int], int]):
        self._read = read

    def wait(self, time_limit_s: float) -> bool:
        deadline = time.monotonic() + time_limit_s
        pause = _SHORTEST_S
        while not self._read(REGISTERS.irq_status.offset):
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(_GROWTH * pause, _LONGEST_S)
        return True


class UioInterrupt:
    """An interrupt that Linux passes on through a device of its UIO driver, e.g. ``/dev/uio4``.

    Raises :class:`BusError` if the device cannot be opened, and later if it is none of UIO or has
    no interrupt.
    """

    def __init__(self, device: Path | str):
        self._device = device
        try:
            self._file = os.open(device, os.O_RDWR)
        except OSError as error:
            raise BusError(
                f"interrupt {str(device)!r} cannot be opened: {error.strerror}"
            ) from None

    def wait(self, time_limit_s: float) -> bool:
        # Drops an interrupt of an earlier run, which came after that run's wait had ended.
        while self._came(0):
            pass
        # Linux masks the interrupt whenever it comes; writing 1 lets the next one through. If the
        # interrupt is still high, it comes again at once, so the loop above loses none.
        try:
            os.write(self._file, struct.pack("=I", 1))
        except OSError as error:
            raise BusError(
                f"interrupt {str(self._device)!r} must let interrupts through, but does not: "
                f"{error.strerror}"
            ) from None
        return self._came(time_limit_s)

    def _came(self, time_limit_s: float) -> bool:
        """Whether the interrupt comes within so many seconds; it is then taken."""
        # Not select(), which takes no descriptor above 1023.
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        if not poll.poll(1000 * time_limit_s):
            return False
        try:
            taken = os.read(self._file, 4)
        except OSError as error:
            raise BusError(
                f"interrupt {str(self._device)!r} cannot be read: {error.strerror}"
            ) from None
        if len(taken) != 4:
            raise BusError(f"interrupt {str(self._device)!r} must be a UIO device, but is not")
        return True

    def close(self) -> None:
        """Frees the device."""
        os.close(self._file)
