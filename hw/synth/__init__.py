"""From a generated build to area, timing and bitstream: with open tools, or with Vivado."""

from hw.synth.area import Area
from hw.synth.nextpnr import synth_nextpnr
from hw.synth.vivado import read_vivado, run_vivado, write_vivado
from hw.synth.yosys import synth_yosys

__all__ = ["Area", "read_vivado", "run_vivado", "synth_nextpnr", "synth_yosys", "write_vivado"]
