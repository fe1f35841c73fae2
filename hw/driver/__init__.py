"""The driver: loads programs and runs images, on a board and in simulation alike."""

from hw.driver.bus import Buffer, Bus
from hw.driver.driver import AcceleratorError, Driver, RunResult

__all__ = ["AcceleratorError", "Buffer", "Bus", "Driver", "RunResult"]
