"""What stands around the accelerator on a board, in Amaranth."""
