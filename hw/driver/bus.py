"""What the driver needs of the machine that it runs on."""

from typing import Protocol

import numpy as np

from nbqnn_train.graph import NbqnnError

__all__ = ["Buffer", "Bus", "BusError"]


class BusError(NbqnnError):
    """A bus that is not there, does not answer, answers with an error, or has no memory left."""


class Buffer:
    """Contiguous memory that the accelerator reaches.

    The host works on ``array``. A cache or a serial line may be between ``array`` and the memory
    of the accelerator: ``to_device`` and ``from_device`` carry bytes over. A plain ``Buffer`` is
    the memory itself, so that they have nothing to do.

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
        """The accelerator then reads ``size`` bytes from ``offset`` as ``array`` has them."""

    def from_device(self, offset: int, size: int) -> None:
        """``array`` then has ``size`` bytes from ``offset`` as the accelerator wrote them."""

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

        Its address is a multiple of :data:`~hw.contract.isa.PAGE_BYTES`.
        The array is zero. No cache holds a changed byte of it: what the accelerator writes later
        stays. The accelerator may see any bytes there until they are carried over.
        """
        ...

    def wait(self) -> bool:
        """Waits until the interrupt is high; False if it is not within the bus's time limit.

        It may return True too early. The driver looks at the registers.
        """
        ...
