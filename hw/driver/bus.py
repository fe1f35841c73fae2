"""What the driver needs of the machine that it runs on."""

from typing import Protocol

import numpy as np

from nbqnn_train.graph import NbqnnError

__all__ = ["PAGE_BYTES", "Buffer", "Bus", "BusError"]

#: Buffers begin at multiples of this.
PAGE_BYTES = 4096


class BusError(NbqnnError):
    """A bus that is not there, does not answer, or answers with an error."""


class Buffer:
    """Contiguous memory that the accelerator reaches: its bytes, and the address of the first.

    ``array`` is the host's view, uint8. Where that is not the accelerator's memory itself (a cache
    or a serial line is between them), the two methods carry bytes over.
    """

    def __init__(self, array: np.ndarray, address: int):
        self.array = array
        self.address = address

    def to_device(self, offset: int, size: int) -> None:
        """Makes the accelerator see ``size`` bytes from ``offset`` as ``array`` has them."""

    def from_device(self, offset: int, size: int) -> None:
        """Makes ``array`` show ``size`` bytes from ``offset`` as the accelerator left them."""


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
        """``size`` bytes at a multiple of :data:`PAGE_BYTES`.

        The array is zero; what the accelerator sees there is anything until it is carried over.
        """
        ...

    def wait(self) -> bool:
        """Waits until the interrupt is high; False if it is not within the bus's time limit."""
        ...
