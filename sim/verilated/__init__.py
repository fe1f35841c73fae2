"""The Verilated accelerator as a Python object, for runs of whole networks."""

from sim.verilated.accelerator import (
    SimulationError,
    Statistics,
    VerilatedAccelerator,
)

__all__ = ["SimulationError", "Statistics", "VerilatedAccelerator"]
