"""What the driver needs of the machine that it runs on."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Buffer", "Bus"]


@dataclass(frozen=True)
class Buffer:
    """Contiguous memory that the accelerator reaches: its bytes, and the address of the first."""

    array: np.ndarray
    address: int


class Bus(Protocol):
    """Registers, memory and the interrupt of one accelerator."""

    def read(self, offset: int) -> int:
        """The 32-bit register at a byte offset."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Writes the 32-bit register at a byte offset."""
        ...

    def allocate(self, size: int) -> Buffer:
        """``size`` bytes of zeroed uint8, at a multiple of 4096."""
        ...

    def wait(self) -> bool:
        """Waits until the interrupt is high; False if it is not within the bus's time limit."""
        ...
