"""The Verilated accelerator behind Python, for runs of whole networks."""

from sim.verilated.accelerator import (
    SimulationError,
    Statistics,
    VerilatedAccelerator,
)

__all__ = ["SimulationError", "Statistics", "VerilatedAccelerator"]
