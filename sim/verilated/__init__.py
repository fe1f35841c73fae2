"""The Verilated accelerator behind Python, for runs of whole networks."""

from sim.verilated.accelerator import (
    BusError,
    SimulationError,
    Statistics,
    VerilatedAccelerator,
)

__all__ = ["BusError", "SimulationError", "Statistics", "VerilatedAccelerator"]
