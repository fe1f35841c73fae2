"""Simulation of circuits, Verilated, between two AXI4-Streams."""
