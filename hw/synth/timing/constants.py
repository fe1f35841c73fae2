"""Delays of UltraScale+ at speed grade -2, in ns. All constants of the estimate are here.

They come from routed timing reports of public designs (Vivado, slow corner): 91 paths of 19 owners
that differ in their cells or fan-outs, those of other grades divided by 1.22 (-1) and 1.33 (-2LV,
0.72 V). Delays of cells are medians. Delays of nets are fitted to the 59 paths with three nets or
more. ``python -m scripts.timing_fit FOLDER`` does it.

With an owner left out, such paths are met with a median error of 21 %; 54 % of them within 25 %;
the root mean square is a factor of 1.56. Paths with one net are not met (64 % too low): tools place
registers as far apart as the clock allows, and the reports show the longest.
"""

__all__ = [
    "BAND",
    "CARRY_IN_TO_OUT",
    "CARRY_IN_TO_SUM",
    "CLOCK_TO_OUT",
    "DSP_ALU",
    "DSP_INPUT",
    "DSP_MULTIPLY",
    "DSP_OUTPUT",
    "MARGIN",
    "MEMORY_CLOCK_TO_OUT",
    "MEMORY_REGISTER_TO_OUT",
    "MUX",
    "NET",
    "NET_LOCAL",
    "NET_LOG_FANOUT",
    "PATH",
    "SETUP_CONTROL",
    "SETUP_DATA",
    "SETUP_DSP",
    "SETUP_MEMORY",
    "SETUP_MEMORY_ENABLE",
    "SPEED",
    "SUM_IN_TO_CARRY",
    "SUM_IN_TO_SUM",
    "TABLE",
    "TABLE_MEMORY",
    "TABLE_MEMORY_CLOCK_TO_OUT",
]

#: The period may be so many times too long or too short.
BAND = 1.56

#: Register: clock to output; setup of data, and of enable and reset.
CLOCK_TO_OUT, SETUP_DATA, SETUP_CONTROL = 0.079, -0.03, 0.065
#: Inputs of a look-up table -> to its output.
TABLE = {1: 0.053, 2: 0.062, 3: 0.088, 4: 0.090, 5: 0.089, 6: 0.100}
#: Multiplexer behind tables.
MUX = 0.071
#: Carry chain: table to carry and to sum, carry in to carry and to sum.
SUM_IN_TO_CARRY, SUM_IN_TO_SUM = 0.165, 0.231
CARRY_IN_TO_OUT, CARRY_IN_TO_SUM = 0.060, 0.076
#: Memory and shift register in tables: address to output; clock to output, which no report shows:
#: it is assumed.
TABLE_MEMORY, TABLE_MEMORY_CLOCK_TO_OUT = 0.10, 0.45
#: Block memory: clock to output without and with its output register; setup of address and data,
#: and of enables.
MEMORY_CLOCK_TO_OUT, MEMORY_REGISTER_TO_OUT = 0.977, 0.25
SETUP_MEMORY, SETUP_MEMORY_ENABLE = 0.28, 0.34
#: Multiplier block: through its inputs, its product, its sum and its output; setup of registers.
DSP_INPUT, DSP_MULTIPLY, DSP_ALU, DSP_OUTPUT, SETUP_DSP = 0.194, 0.656, 0.571, 0.110, 0.26

#: A net with a fan-out of n: NET + NET_LOG_FANOUT * ln(n). The fit can hardly tell the first from
#: PATH, so it is the median of nets with one load. Kind of end and utilization of the device made
#: no difference in the fit.
NET, NET_LOG_FANOUT = 0.08, 0.065
#: A net inside a slice: table to its carry chain or multiplexer, carry to carry.
NET_LOCAL = 0.016
#: What every path takes beside its cells and nets: some net on it is long.
PATH = 0.79
#: Clock uncertainty 0.07 and skew 0.12.
MARGIN = 0.19

#: Speed grade, as parts are named -> how many times the delays of -2.
SPEED = {"-2-": 1.0, "-1-": 1.22, "-2LV-": 1.33}
