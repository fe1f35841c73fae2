"""The boards that an accelerator is built for, one file each.

A file of this folder that has a ``BOARD`` is a board: its device, memory, presets, and what stands
around the accelerator. Nothing else names it. Importing a board does not load Amaranth.
"""
