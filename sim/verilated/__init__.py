"""The Verilated accelerator behind Python, for runs of whole networks."""

from sim.verilated.accelerator import (
    BusError,
    MemoryTiming,
    SimulationError,
    Statistics,
    VerilatedAccelerator,
)

__all__ = ["BusError", "MemoryTiming", "SimulationError", "Statistics", "VerilatedAccelerator"]
