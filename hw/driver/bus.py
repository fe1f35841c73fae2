"""The interface between the driver and the machine that it runs on."""

from typing import Protocol

import numpy as np

from nbqnn_train.graph import NbqnnError

__all__ = ["Buffer", "Bus", "BusError"]


class BusError(NbqnnError):
    """A bus is missing, does not answer, answers with an error, or has no memory left."""


class Buffer:
    """Contiguous memory that the accelerator reaches.

    The host works on ``array``. Between ``array`` and the accelerator's memory there may be a cache
    or a serial line; ``to_device`` and ``from_device`` carry bytes over. In a plain ``Buffer`` the
    array is the memory itself, and these methods do nothing.

    Parameters
    ----------
    array : numpy.ndarray of uint8, one axis
        The host's view.
    address : int
        The accelerator's address of the first byte, a multiple of
        :data:`~hw.contract.isa.PAGE_BYTES`.
    """

    def __init__(self, array: np.ndarray, address: int):
        self.array = array
        self.address = address

    def to_device(self, offset: int, size: int) -> None:
        """Makes ``size`` bytes of ``array`` from ``offset`` visible to the accelerator."""

    def from_device(self, offset: int, size: int) -> None:
        """Makes ``size`` bytes that the accelerator wrote from ``offset`` visible in ``array``."""

    def free(self) -> None:
        """Gives the memory back. The buffer must not be used afterwards."""


class Bus(Protocol):
    """Registers, memory and the interrupt of one accelerator.

    Every method raises :class:`BusError` when nothing answers.
    """

    def read(self, offset: int) -> int:
        """The 32-bit register at a byte offset."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Writes the 32-bit register at a byte offset."""
        ...

    def allocate(self, size: int) -> Buffer:
        """A buffer of at least ``size`` bytes.

        Its address is a multiple of :data:`~hw.contract.isa.PAGE_BYTES`. The array is zero. The
        accelerator may see any bytes there until ``to_device`` carries them over. No cache holds a
        changed byte, so none can overwrite what the accelerator writes later.
        """
        ...

    def wait(self) -> bool:
        """Waits until the interrupt is high. False if that takes longer than the bus's time limit.

        It may return True too early, so the driver checks the registers.
        """
        ...
