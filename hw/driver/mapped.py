"""Registers and memory that Linux maps into the process."""

import errno
import mmap
import os
import struct
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from hw.contract.registers import ADDRESS_BITS
from hw.driver.bus import BusError
from hw.driver.pages import Pages

__all__ = ["MappedMemory", "MappedRegisters", "mapped_memory"]

_REGISTERS_BYTES = 1 << ADDRESS_BITS
#: What this process has mapped, by file, offset, size and whether it is cached.
_MAPPED: "WeakValueDictionary[tuple[int, int, int, int, bool], MappedMemory]" = (
    WeakValueDictionary()
)
_MAPPING = threading.Lock()


class MappedMemory:
    """Bytes of a device that are this process's alone: see :func:`mapped_memory`.

    Attributes
    ----------
    array : numpy.ndarray of uint8, one axis
    pages : Pages
        Which of them are in use.
    """

    def __init__(self, array: np.ndarray, pages: Pages):
        self.array = array
        self.pages = pages


def mapped_memory(
    device: Path | str, offset: int, size: int, what: str, *, cached: bool = False
) -> MappedMemory:
    """Maps ``size`` bytes of a device from ``offset``, a multiple of the page size.

    Unless ``cached``, the device is opened with ``O_SYNC``. The bytes are mapped as long as the
    result is kept. Until then other processes are refused them, by a lock of those bytes of the
    device; within this process the same bytes give the same object, so that two buses over one
    memory do not hand out the same page. ``what`` names the memory in errors.

    Raises :class:`BusError` if the device cannot be opened or mapped there, or another process has
    mapped any of these bytes.
    """
    if size < 1:
        raise BusError(f"{what} must have 1 byte or more, not {size}")
    try:
        file = os.open(device, os.O_RDWR | (0 if cached else os.O_SYNC))
    except OSError as error:
        raise BusError(f"memory {str(device)!r} cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(file)
        key = status.st_dev, status.st_ino, offset, size, cached
        with _MAPPING:
            known = _MAPPED.get(key)
            if known is None:
                _lock(file, offset, size)
                # The map keeps the opened file, and that keeps the lock.
                array = np.frombuffer(mmap.mmap(file, size, offset=offset), np.uint8)
                known = _MAPPED[key] = MappedMemory(array, Pages(size, what))
            return known
    except (OSError, ValueError, OverflowError, struct.error) as error:
        place = f"memory {str(device)!r} cannot be mapped at {offset:#x}, {size} bytes"
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EACCES):
            raise BusError(
                f"{place}: another program has mapped some of it, or this one has with other "
                "bounds; remedy: end that program, or the same bounds"
            ) from None
        raise BusError(f"{place}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        os.close(file)


def _lock(file: int, offset: int, size: int) -> None:
    """Locks bytes of an opened file until it is closed. Raises OSError if they are locked.

    A lock of the opened file, and not of the process: that one would end whenever the process
    closes the same device elsewhere.
    """
    import fcntl  # not there on Windows, where the driver works over serial lines

    # struct flock of the C library: kind, from where, first byte, bytes, process (0).
    request = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, offset, size, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, request)


class MappedRegisters:
    """The accelerator's registers.

    ``MappedRegisters("/dev/mem", 0xA0000000)`` takes a physical address.
    ``MappedRegisters("/dev/uio4")`` takes the first map of a UIO device; map N of it is at N pages.

    Raises :class:`BusError` if the device cannot be opened or mapped, or another process has it.
    """

    def __init__(self, device: Path | str = "/dev/mem", offset: int = 0):
        self._memory = mapped_memory(device, offset, _REGISTERS_BYTES, "the registers")
        # Words, so that every access has 32 bits.
        self._words = self._memory.array.view(np.uint32)

    def read(self, offset: int) -> int:
        """The register at a byte offset."""
        return int(self._words[offset // 4])

    def write(self, offset: int, value: int) -> None:
        """Writes the register at a byte offset."""
        self._words[offset // 4] = value
