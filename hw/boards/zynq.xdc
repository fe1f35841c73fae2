# Clocks come with the processor system, and no port of the accelerator has a pad.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
