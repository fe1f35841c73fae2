"""A board's pins in simulation: clock, reset and a serial line, behind Python."""

from sim.serial.board import VerilatedBoard
from sim.serial.netlist import netlist_with_models
from sim.serial.simulate import simulate_netlist

__all__ = ["VerilatedBoard", "netlist_with_models", "simulate_netlist"]
