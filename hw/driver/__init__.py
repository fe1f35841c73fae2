"""The driver: loads programs and runs images, on a board and in simulation alike."""

from hw.driver.bus import Buffer, Bus, BusError
from hw.driver.driver import AcceleratorError, Driver, RunResult
from hw.driver.memory import memory_bytes
from hw.driver.uart import SerialPort, UartBus

__all__ = [
    "AcceleratorError",
    "Buffer",
    "Bus",
    "BusError",
    "Driver",
    "RunResult",
    "SerialPort",
    "UartBus",
    "memory_bytes",
]
