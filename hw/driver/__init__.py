"""The driver: loads programs and runs images, on a board and in simulation alike."""

from hw.driver.batch import BatchResult, run_batch, run_group
from hw.driver.bus import Buffer, Bus, BusError
from hw.driver.devmem import DevMemBus
from hw.driver.driver import AcceleratorError, Driver, RunResult
from hw.driver.interrupt import PolledInterrupt, UioInterrupt
from hw.driver.memory import memory_bytes
from hw.driver.pynq import PynqBus
from hw.driver.uart import SerialPort, UartBus

__all__ = [
    "AcceleratorError",
    "BatchResult",
    "Buffer",
    "Bus",
    "BusError",
    "DevMemBus",
    "Driver",
    "PolledInterrupt",
    "PynqBus",
    "RunResult",
    "SerialPort",
    "UartBus",
    "UioInterrupt",
    "memory_bytes",
    "run_batch",
    "run_group",
]
