"""Components in the cells of UltraScale+: look-up tables, carry chains, multiplexers."""
