"""Registers and memory that Linux maps into the process."""

import mmap
import os
from pathlib import Path

import numpy as np

from hw.contract.registers import ADDRESS_BITS
from hw.driver.bus import BusError

__all__ = ["MappedRegisters", "map_bytes"]

_REGISTERS_BYTES = 1 << ADDRESS_BITS


def map_bytes(device: Path | str, offset: int, size: int, *, cached: bool = False) -> np.ndarray:
    """Maps ``size`` bytes of a device from ``offset``, a multiple of the page size, as uint8.

    Unless ``cached``, the device is opened with ``O_SYNC``. The map lasts as long as the array.
    Raises :class:`BusError` if the device cannot be opened or mapped there.
    """
    try:
        file = os.open(device, os.O_RDWR | (0 if cached else os.O_SYNC))
    except OSError as error:
        raise BusError(f"memory {str(device)!r} cannot be opened: {error.strerror}") from None
    try:
        return np.frombuffer(mmap.mmap(file, size, offset=offset), np.uint8)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BusError(
            f"memory {str(device)!r} cannot be mapped at {offset:#x}, {size} bytes: {reason}"
        ) from None
    finally:
        os.close(file)


class MappedRegisters:
    """The accelerator's registers.

    ``MappedRegisters("/dev/mem", 0xA0000000)`` takes a physical address.
    ``MappedRegisters("/dev/uio4")`` takes the first map of a UIO device; map N of it is at N pages.

    Raises :class:`BusError` if the device cannot be opened or mapped.
    """

    def __init__(self, device: Path | str = "/dev/mem", offset: int = 0):
        # An array of words, so that every access has 32 bits.
        self._words = map_bytes(device, offset, _REGISTERS_BYTES).view(np.uint32)

    def read(self, offset: int) -> int:
        """The register at a byte offset."""
        return int(self._words[offset // 4])

    def write(self, offset: int, value: int) -> None:
        """Writes the register at a byte offset."""
        self._words[offset // 4] = value
