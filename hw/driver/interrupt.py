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

    Raises :class:`BusError` if the device cannot be opened.
    """

    def __init__(self, device: Path | str):
        try:
            self._file = os.open(device, os.O_RDWR)
        except OSError as error:
            raise BusError(
                f"interrupt {str(device)!r} cannot be opened: {error.strerror}"
            ) from None

    def wait(self, time_limit_s: float) -> bool:
        # Drops an interrupt of an earlier run, which came after that run's wait had ended.
        while select.select([self._file], [], [], 0)[0]:
            os.read(self._file, 4)
        # Linux masks the interrupt whenever it comes; writing 1 lets the next one through. If the
        # interrupt is still high, it comes again at once, so the loop above loses none.
        os.write(self._file, struct.pack("=I", 1))
        readable, _, _ = select.select([self._file], [], [], time_limit_s)
        if not readable:
            return False
        os.read(self._file, 4)
        return True

    def close(self) -> None:
        """Frees the device."""
        os.close(self._file)
