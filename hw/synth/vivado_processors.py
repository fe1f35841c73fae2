"""Processor systems that a block design has beside the accelerator."""

from dataclasses import dataclass

__all__ = ["PROCESSORS", "Processors"]


@dataclass(frozen=True, kw_only=True)
class Processors:
    """A processor system with memory, as the accelerator sees it.

    script : Tcl that makes it and names its pins.
    memory_ports : number of ports from the FPGA into its memory.
    port_bits : most data bits of each port.
    control_address : where the processors see the accelerator's registers.
    """

    script: str
    memory_ports: int
    port_bits: int
    control_address: int


#: Family of a board's device -> its processor system. AMD UG1085 and UG585.
PROCESSORS = {
    "xcup": Processors(
        script="vivado_zynq_ultra.tcl",
        memory_ports=4,
        port_bits=128,
        control_address=0xA000_0000,
    ),
    "xc7": Processors(
        script="vivado_zynq_7.tcl",
        memory_ports=4,
        port_bits=64,
        control_address=0x43C0_0000,
    ),
}
