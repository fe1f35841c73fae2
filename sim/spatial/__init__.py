"""Networks that are circuits of their own, Verilated, between two AXI4-Streams."""
