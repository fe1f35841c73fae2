"""What all sides of the hardware agree on, without Amaranth."""
