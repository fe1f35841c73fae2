"""A static estimate of how fast a mapped netlist can be clocked, before anything is placed."""

from hw.synth.timing.estimate import TimingEstimate, TimingPath, estimate_timing

__all__ = ["TimingEstimate", "TimingPath", "estimate_timing"]
