"""From a generated build to area: Yosys on this machine, Vivado elsewhere."""

from hw.synth.area import Area
from hw.synth.vivado import write_vivado
from hw.synth.yosys import synth_yosys

__all__ = ["Area", "synth_yosys", "write_vivado"]
