"""The boards that an accelerator is built for, one file each.

A file of this folder that has a ``BOARD`` describes a board: device, memory, presets, shell.
Nothing else names the board. Importing it does not load Amaranth.
"""
